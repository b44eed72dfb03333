"""The parts of the page where two ECGs are compared and many are read: their fields and buttons."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import gradio as gr

from space import batch as many
from space import compare as two
from space.batch import MAX_ECGS, SORT, Batch
from space.compare import Comparer
from space.example_list import EXAMPLES
from space.fields import form_field
from space.markup import NOTHING, as_html, html
from space.uploads import FORM_TITLE


# Who waits for whom is for `Turns` to say, which knows visitors, and not for Gradio's queue.
EVENT: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private"}
TABS_CSS = two.CSS + many.CSS
PAIR = (EXAMPLES[0], EXAMPLES[2])


def block(content: Any = NOTHING, **settings: Any) -> gr.HTML:
    """Returns a block of HTML in which only what the code wrote is HTML."""
    return gr.HTML(as_html(content), **settings)


def upload_box(label: str, elem_id: str, file_count: Any = "multiple") -> gr.File:
    """Returns a place for files, whose paths are what an event gets."""
    box = gr.File(label=label, file_count=file_count, height=170, elem_id=elem_id)
    # Gradio's own leaves an empty file behind for each path.
    box.preprocess = paths_of  # type: ignore[method-assign]
    return box


def paths_of(payload: Any) -> list[str]:
    """Returns the paths of what was uploaded."""
    return [file.path for file in payload or ()]


def build_compare(comparer: Comparer, clicked: Callable[..., Any], last: Any) -> None:
    """
    Builds the part in which two ECGs are compared.

    Args:
        comparer ([`Comparer`]): What happens there.
        clicked (`Callable`): Makes of a function what Gradio calls.
        last (`gr.State`): The key of the visitor's last result.
    """
    with gr.Row():
        with gr.Column(min_width=280):
            earlier = upload_box("Earlier ECG", "earlier")
        with gr.Column(min_width=280):
            new = upload_box('New ECG (left out: the one under "One ECG")', "new")
    with gr.Accordion(FORM_TITLE, open=False):
        fields = _one_form()
        with gr.Row():
            exam = gr.Textbox(label="Exam id of the earlier one (HDF5)", max_lines=1)
            new_exam = gr.Textbox(label="Exam id of the new one (HDF5)", max_lines=1)
    with gr.Row():
        compare = gr.Button("Compare", variant="primary", elem_id="compare-two")
        example = gr.Button("Two simulated examples", elem_id="compare-examples")
    shown = [earlier, new, block(elem_id="comparison-of-two")]
    uploads = [earlier, new, last, exam, new_exam, *fields]
    compare.click(clicked(comparer.show_uploads), uploads, shown, scroll_to_output=True, **EVENT)
    example.click(clicked(lambda: comparer.show_examples(*PAIR)), [], shown, scroll_to_output=True, **EVENT)


def build_batch(batch: Batch, failed: Callable[[Exception], Exception]) -> None:
    """
    Builds the part in which many ECGs are read.

    Args:
        batch ([`Batch`]): What happens there.
        failed (`Callable`): Makes of an error what Gradio shows.
    """
    block(
        html(
            "<p>Up to {most} ECGs: their files, a folder of them, or a zip archive. Each becomes a line of the table, "
            "and so does each that cannot be read, with the reason.</p>",
            most=MAX_ECGS,
        )
    )
    with gr.Row():
        with gr.Column(min_width=280):
            files = upload_box("Files, or a zip archive", "many-files")
        with gr.Column(min_width=280):
            folder = upload_box("A folder", "many-folder", "directory")
    with gr.Accordion(FORM_TITLE, open=False):
        fields = _one_form()
        exams = gr.Textbox(label="Exam ids (HDF5), parted by commas", max_lines=1)
    with gr.Row():
        read = gr.Button("Read all", variant="primary", elem_id="read-many")
        example = gr.Button("The simulated examples", elem_id="many-examples")
        stop = gr.Button("Stop", elem_id="stop-many")
    shown = [files, folder, block(elem_id="many-progress"), block(elem_id="many-table", js_on_load=SORT)]

    def streamed(paths_from: Callable[..., tuple[Sequence[Any], Sequence[Any]]]) -> Callable[..., Any]:
        async def answer(request: gr.Request, *args: Any) -> AsyncIterator[list[Any]]:
            try:
                paths, fields = paths_from(*args)
                lines = batch.show(request.client.host, request.session_hash or "", paths, *fields)
                async with aclosing(lines):
                    async for line, rows in lines:
                        yield [None, None, as_html(line), gr.skip() if rows is None else as_html(rows)]
            except Exception as error:
                raise failed(error) from error

        return answer

    # Its own line says how far it is.
    settings = {**EVENT, "show_progress": "hidden"}
    uploads = streamed(lambda files, folder, *fields: ([*files, *folder], fields))
    paths = [path for one in EXAMPLES for path in one.paths]
    examples = streamed(lambda *fields: (paths, fields))
    running: list[Any] = [
        read.click(uploads, [files, folder, exams, *fields], shown, **settings),
        example.click(examples, [exams, *fields], shown, **settings),
    ]
    stop.click(None, cancels=running, api_visibility="private")


def _one_form() -> list[Any]:
    """Fields of [`Form`] but the exam's id, in its order, for files that do not state them."""
    block(html("<p>For every file that does not state it itself:</p>"))
    with gr.Row():
        stated = [form_field(name) for name in ("sampling_rate", "unit", "lead_names")]
    with gr.Row():
        accepted = [form_field(name) for name in ("repair_nan", "allow_missing_leads")]
    return [*stated, *accepted]


__all__ = ["EVENT", "TABS_CSS", "block", "build_batch", "build_compare", "paths_of", "upload_box"]
