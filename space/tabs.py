"""The parts of the page where two ECGs are compared and many are read: their fields and buttons."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import gradio as gr

from space import batch as many
from space import compare as two
from space.batch import LIVE, MAX_ECGS, Batch
from space.compare import Comparer
from space.example_list import EXAMPLES
from space.failures import sentence_of
from space.fields import form_field
from space.markup import NOTHING, as_html, html
from space.page import trouble
from space.uploads import FORM_TITLE


# Who waits for whom is for `Turns` to say, which knows visitors, and not for Gradio's queue.
EVENT: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private"}
TABS_CSS = two.CSS + many.CSS
PAIR = (EXAMPLES[0], EXAMPLES[2])
# A message is scrolled to when it comes.
SEEN = """
const look = () => element.querySelector(".ec-trouble")?.scrollIntoView({block: "nearest"});
watch("value", look);
look();
"""


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


def said(error: Exception | None = None) -> gr.HTML:
    """Returns what a message's block becomes: what went wrong, or nothing."""
    return block(visible=False) if error is None else block(trouble(sentence_of(error)), visible=True)


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
    message = block(visible=False, elem_id="trouble-of-two", js_on_load=SEEN)
    with gr.Accordion(FORM_TITLE, open=False):
        fields = _one_form()
        with gr.Row():
            exam = gr.Textbox(label="Exam id of the earlier one (HDF5)", max_lines=1)
            new_exam = gr.Textbox(label="Exam id of the new one (HDF5)", max_lines=1)
    with gr.Row():
        compare = gr.Button("Compare", variant="primary", elem_id="compare-two")
        example = gr.Button("Two simulated examples", elem_id="compare-examples")
    result = block(elem_id="comparison-of-two")
    shown = [earlier, new, result, message]
    # A result of before would be taken for that of these files.
    settings = {**EVENT, "show_progress_on": [result]}

    def failed(error: Exception) -> dict[Any, Any]:
        return {result: block(), message: said(error)}

    def show(comparison: Callable[..., list[Any]]) -> Callable[..., Any]:
        return clicked(lambda *fields: [*comparison(*fields), said()], failed)

    uploads = [earlier, new, last, exam, new_exam, *fields]
    compare.click(show(comparer.show_uploads), uploads, shown, **settings)
    example.click(show(lambda: comparer.show_examples(*PAIR)), [], shown, **settings)
    gr.on([earlier.upload, new.upload], said, None, message, **EVENT)


def build_batch(batch: Batch) -> None:
    """
    Builds the part in which many ECGs are read.

    Args:
        batch ([`Batch`]): What happens there.
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
    message = block(visible=False, elem_id="trouble-of-many", js_on_load=SEEN)
    with gr.Accordion(FORM_TITLE, open=False):
        fields = _one_form()
        exams = gr.Textbox(label="Exam ids (HDF5), parted by commas", max_lines=1)
    with gr.Row():
        read = gr.Button("Read all", variant="primary", elem_id="read-many")
        example = gr.Button("The simulated examples", elem_id="many-examples")
        stop = gr.Button("Stop", elem_id="stop-many")
    shown = [files, folder, block(elem_id="many-progress"), block(elem_id="many-table", js_on_load=LIVE), message]

    def streamed(paths_from: Callable[..., tuple[Sequence[Any], Sequence[Any]]]) -> Callable[..., Any]:
        async def answer(request: gr.Request, *args: Any) -> AsyncIterator[list[Any]]:
            try:
                paths, fields = paths_from(*args)
                lines = batch.show(request.client.host, request.session_hash or "", paths, *fields)
                async with aclosing(lines):
                    async for line, rows in lines:
                        table = gr.skip() if rows is None else as_html(rows)
                        yield [None, None, as_html(line), table, said()]
            except Exception as error:  # the table before it stays as it is
                yield [*[gr.skip()] * 4, said(error)]

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
    gr.on([files.upload, folder.upload], said, None, message, **EVENT)


def _one_form() -> list[Any]:
    """Fields of [`Form`] but the exam's id, in its order, for files that do not state them."""
    block(html("<p>For every file that does not state it itself:</p>"))
    with gr.Row():
        stated = [form_field(name) for name in ("sampling_rate", "unit", "lead_names")]
    with gr.Row():
        accepted = [form_field(name) for name in ("repair_nan", "allow_missing_leads")]
    return [*stated, *accepted]


__all__ = ["EVENT", "TABS_CSS", "block", "build_batch", "build_compare", "paths_of", "upload_box"]
