"""What the page says where an upload could not be read, and the fields that it then asks for; both beside it."""

from typing import Any

import gradio as gr

from modeling_ecgclip.stated_ecgclip import ImplausibleEcgError
from space.failures import sentence_of
from space.fields import form_field
from space.markup import NOTHING, html
from space.page import trouble
from space.tabs import block
from space.uploads import FORM_TITLE, Form, UnreadableError


# Of `ImplausibleEcgError`: what other names of the leads would mend.
_OF_LEADS = ("lead_order", "limb_leads_disagree", "inverted")
# Of [`Form`]: what an error offers by the argument's name, as in "repair_nan=True fills short gaps".
_OFFERED = ("repair_nan", "allow_missing_leads")
# The fields of [`Form`], in its order, and what each is called in the page.
PLACES = {
    "sampling_rate": "rate",
    "unit": "unit",
    "lead_names": "leads",
    "exam_id": "exam",
    "repair_nan": "repair",
    "allow_missing_leads": "missing",
}
# Goes to the message and into the first field that is asked for, as soon as it is there.
FOCUS = """() => {
  const trouble = document.querySelector("#trouble .ec-trouble");
  if (!trouble?.offsetParent) return;
  trouble.scrollIntoView({block: "nearest"});
  const asked = trouble.closest("#trouble").querySelector("[data-asked]")?.dataset.asked;
  const look = tries => {
    const field = document.querySelector(`#${asked} :is(input, textarea)`);
    if (field) field.focus();
    else if (tries) setTimeout(look, 50, tries - 1);
  };
  if (asked) look(40);
}"""


def fields_for(error: Exception) -> tuple[str, ...]:
    """Returns which fields of [`Form`] could mend what went wrong with an upload."""
    if isinstance(error, UnreadableError):
        return error.fields
    if isinstance(error, ImplausibleEcgError) and error.code.startswith(_OF_LEADS):
        return ("lead_names",)
    return tuple(name for name in _OFFERED if f"{name}=True" in str(error))


class Asking:
    """
    The message and the fields, built where the page has them. A field appears when an upload needed it, and goes with
    that upload, so that what was said of one file is never taken for another.
    """

    def __init__(self) -> None:
        self.message = block(visible=False, elem_id="trouble")
        with gr.Column(visible=False, elem_id="asked") as self.group:
            block(html('<p class="ec-asked">{title}</p>', title=FORM_TITLE))
            self.fields: dict[str, Any] = {
                name: form_field(name, no_unit="choose", visible=False, elem_id=place)
                for name, place in PLACES.items()
            }

    @property
    def inputs(self) -> list[Any]:
        """The fields of [`Form`], in its order."""
        return list(self.fields.values())

    @property
    def outputs(self) -> list[Any]:
        """All that an answer may change."""
        return [self.message, self.group, *self.inputs]

    def failed(self, error: Exception) -> dict[Any, Any]:
        """Returns what the page shows of an upload that could not be read; fields that it has shown stay."""
        asked = fields_for(error)
        sentence = sentence_of(error)
        for name in _OFFERED:
            sentence = sentence.partition(f" {name}=True")[0]  # what a program would write
        first = html('<i data-asked="{field}"></i>', field=self.fields[asked[0]].elem_id) if asked else NOTHING
        shown: dict[Any, Any] = {self.message: block(trouble(sentence) + first, visible=True)}
        if asked:
            shown[self.group] = gr.Column(visible=True)
            shown |= {self.fields[name]: type(self.fields[name])(visible=True) for name in asked}
        return shown

    def done(self, shown: list[Any]) -> list[Any]:
        """Returns what is shown of an ECG that was read, and what takes the message away."""
        return [*shown, block(visible=False), *[gr.skip()] * (1 + len(self.fields))]

    def forgotten(self) -> dict[Any, Any]:
        """Returns what takes message and fields away, and what was entered: of another upload it says nothing."""
        empty = Form()
        fields = {
            field: type(field)(value="" if name == "unit" else getattr(empty, name), visible=False)
            for name, field in self.fields.items()
        }
        return {self.message: block(visible=False), self.group: gr.Column(visible=False), **fields}


__all__ = ["FOCUS", "Asking", "fields_for"]
