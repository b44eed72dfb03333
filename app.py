"""
The Space: upload an ECG and see it on paper, what a model finds in it, what drove that, and the nearest reports.

On a Space the environment variables ECGCLIP_MODEL, ECGCLIP_CLIP_MODEL and ECGCLIP_REPORT_INDEX name the models. On
your own machine `make app` runs it with the models that come with ecgclip (trained on simulated ECGs), or:

    python app.py --model_name_or_path someone/ecgclip-code15 --clip_model_name_or_path someone/ecgclip-clip
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from modeling_ecgclip.checksums_ecgclip import DamagedFileError
from modeling_ecgclip.pretrained_ecgclip import pretrained_folder
from space import page
from space.analysis import Analyser, Analysis
from space.asking import FOCUS, Asking
from space.batch import Batch
from space.compare import Comparer
from space.example_list import EXAMPLES, Example
from space.failures import sentence_of
from space.findings import MANY
from space.gate import Gate
from space.markup import as_html, html
from space.nearest import INDEX_FILE
from space.report import build_json, build_pdf, file_name
from space.shelf import Shelf
from space.storage import Storage
from space.tabs import EVENT, TABS_CSS, block, build_batch, build_compare, upload_box
from space.tracing import CSS, SCRIPT_PATH, script, tracing
from space.turns import Turns
from space.uploads import MAX_FILE_MB, Form, read_upload
from space.words import TEMPLATES


MAX_UPLOAD_MB, MAX_FILES = 40, 100  # the files of one record together
STORED_MB, STORED_MB_OF_ONE = 400, 120  # uploads that wait to be analysed: all, and of one address
UPLOADS, UPLOADS_OF_ONE = 240, 60
RESULTS, RESULTS_MB = 64, 64  # remembered for what visitors click next
KEEP_S = 300.0  # an upload that is not analysed, and a result after the last click
TIMEOUT_S = 60.0
MESSAGE_S = 30  # how long an error stays
# Where a Space is shown.
HUB_SITES = "https://huggingface.co https://*.huggingface.co"
PLAIN = "nothing"
WHAT_TO_DO = (
    "name a classifier with --model_name_or_path (or the environment variable ECGCLIP_MODEL), or run `make app`, "
    "which takes the one that comes with ecgclip"
)
NO_CLIP_MODEL = html(
    "<p>This page runs without a dual encoder, which compares ECGs with text. Start it with "
    "<code>--clip_model_name_or_path</code> (on a Space: the variable <code>ECGCLIP_CLIP_MODEL</code>) to use your "
    "own words and to see the nearest reports.</p>"
)
NO_REPORTS = html(
    "<p>This page has no set of reports to search. <code>python -m space.index_reports</code> makes one: "
    "<code>{file}</code> in the dual encoder's folder or repository.</p>",
    file=INDEX_FILE,
)
# Findings rather than names of diagnoses: pre-training sees the description of an exam and not its conclusion.
WORDS = {
    "Português": (
        "ritmo regular, ondas P e QRS normais\n"
        "QRS alargado, rSR' em V1 e S alargada em V6\n"
        "QRS alargado, R alargada e entalhada em V5 e V6\n"
        "intervalos RR irregulares e ausência de ondas P\n"
        "intervalo PR aumentado"
    ),
    "English": (
        "regular rhythm, normal P waves and QRS\n"
        "wide QRS, rSR' in V1 and wide S in V6\n"
        "wide QRS, broad notched R in V5 and V6\n"
        "irregular RR intervals and no P waves\n"
        "prolonged PR interval"
    ),
}


def message(error: Exception) -> gr.Error:
    """Returns the one sentence that the page shows. Its box renders HTML, so that what an error quotes is escaped."""
    return gr.Error(as_html(sentence_of(error)), duration=MESSAGE_S, print_exception=False)


class Page:
    """
    What happens on the page.

    Args:
        analyser ([`Analyser`]): The models.
        storage ([`Storage`]), shelf ([`Shelf`]): Where uploads lie until they are analysed, and results after that.
        turns ([`Turns`]): Who waits for whom.
    """

    def __init__(self, analyser: Analyser, storage: Storage, shelf: Shelf, turns: Turns) -> None:
        self.analyser, self.storage, self.shelf, self.turns = analyser, storage, shelf, turns

    def when_clicked(
        self, function: Callable[..., Any], failed: Callable[[Exception], Any] | None = None
    ) -> Callable[..., Any]:
        """
        Returns what Gradio calls: the function when it is its visitor's turn, or what `failed` makes of what went
        wrong, left out a message in the page's corner. What the function returns is text, but for what the code wrote
        as HTML.
        """

        async def answer(request: gr.Request, *args: Any) -> Any:
            try:
                session = request.session_hash or ""
                shown = await self.turns.take(request.client.host, session, function, *args)
            except Exception as error:
                if failed is not None:
                    return failed(error)
                raise message(error) from error
            return [as_html(one) if isinstance(one, str) else one for one in shown]

        return answer

    def show_upload(self, paths: list[str], *fields: Any) -> list[Any]:
        """
        Analyses an upload and deletes it; `fields` are those of [`Form`], in its order, then words, language and the
        key of the visitor's last result. An upload that was not understood is kept for another try.
        """
        *stated, words, language, last = fields
        self.storage.check_kept(paths)
        shown = self._show_new(paths, Form(*stated), words, language, last, None)
        self.storage.remove(*paths)
        return [None, *shown]

    def show_example(self, example: Example, words: str, language: str, last: str | None) -> list[Any]:
        """Analyses an example, in place of what was uploaded."""
        title = f"Simulated example: {example.title.lower()}"
        return [None, *self._show_new(example.paths, Form(), words, language, last, title)]

    def _show_new(
        self,
        paths: Sequence[str | Path],
        form: Form,
        words: str,
        language: str,
        last: str | None,
        name: str | None,
    ) -> list[Any]:
        """All outputs for a new ECG but what drove a label, which takes longer and follows."""
        record, notes = read_upload(paths, form)
        record = record if name is None else replace(record, name=name)
        analysis = self.analyser.analyse(record, notes, form.repair_nan, form.allow_missing_leads)
        comparison: Any = ""
        if self.analyser.zero_shot is not None:
            try:
                analysis = self.analyser.compare(analysis, words, language)
                comparison = page.words(analysis)
            except ValueError as error:
                # The ECG is fine; only the phrases, which may be half typed, are not.
                comparison = page.trouble(str(error))
        self.shelf.drop(last)
        key = self.shelf.put(analysis)
        return [
            gr.HTML(visible=False),
            gr.Column(visible=True),
            page.facts(analysis),
            page.measurements(analysis),
            page.findings(analysis),
            comparison,
            page.nearest(analysis) if analysis.nearest else "",
            label_choice(self.analyser, value=analysis.marked_label or PLAIN),
            page.downloads(key),
            key,
            *_drawn(analysis),
        ]

    def mark(self, key: str | None, label: str) -> list[Any]:
        """Marks what drove another label, or nothing."""
        if key is None:  # the upload before it could not be read
            return [gr.skip()] * 2
        analysis = self.shelf.get(key)
        plain = label == PLAIN
        analysis = replace(analysis, saliency=None) if plain else self.analyser.explain(analysis, label)
        self.shelf.put(analysis, key)
        return _drawn(analysis)

    def compare(self, key: str, words: str, language: str) -> list[Any]:
        """Compares the ECG with the user's own words."""
        try:
            analysis = self.analyser.compare(self.shelf.get(key), words, language)
        except ValueError as error:
            return [page.trouble(str(error))]
        self.shelf.put(analysis, key)
        return [page.words(analysis)]

    async def file(self, key: str, kind: str, address: str) -> tuple[str, str, bytes]:
        """
        Returns name, media type and content of a result's file, made when it is asked for.

        Args:
            key (`str`): Of the result.
            kind (`str`): `"json"` or `"pdf"`.
            address (`str`): Who asks.

        Raises:
            `ValueError`: where the result is not kept any more, or too many wait.
        """
        analysis = self.shelf.get(key)
        build = {"json": build_json, "pdf": build_pdf}[kind]
        content = await self.turns.take(address, None, build, analysis)
        return file_name(analysis, f".{kind}"), f"application/{kind}", content


def _drawn(analysis: Analysis) -> list[Any]:
    """The drawing and the key to its marks."""
    return [tracing(analysis), page.saliency(analysis)]


def build_page(actions: Page, origin: str = "") -> gr.Blocks:
    """Returns the page; [`launch`] serves it. `origin` says what the model was trained on."""
    analyser = actions.analyser
    with gr.Blocks(title="ecgclip", analytics_enabled=False, fill_width=True) as blocks:
        block(page.head(origin))
        state = gr.State(None)  # the key of the visitor's result
        with gr.Tab("One ECG"), gr.Row():
            with gr.Column(scale=1, min_width=290):
                upload = upload_box("ECG", "upload")
                asking = Asking()
                analyse = gr.Button("Analyse", variant="primary", elem_id="analyse")
                block(page.limits(MAX_FILE_MB, round(KEEP_S / 60)))
                block(html("<p><b>Or a simulated example</b> (no patient):</p>"))
                examples = [gr.Button(example.title, size="sm") for example in EXAMPLES]
            with gr.Column(scale=3, min_width=280):
                hint = block(page.hint())
                with gr.Column(visible=False, elem_id="result") as result:
                    facts = block(elem_id="facts")
                    measurements = block(elem_id="measurements")
                    paper = block(elem_id="paper")
                    marked = label_choice(analyser, label="Mark on the tracing what drove", elem_id="marked")
                    saliency = block()
                    findings = block(elem_id="findings")
                    words, language, compare, comparison, nearest = _text_tabs(analyser)
                    downloads = block()
        drawn = [paper, saliency]
        shown = [hint, result, facts, measurements, findings, comparison, nearest, marked, downloads, state, *drawn]
        clicked = actions.when_clicked
        with gr.Tab("Compare two"):
            build_compare(Comparer(analyser, actions.storage, actions.shelf), clicked, state)
        with gr.Tab("Many"):
            build_batch(Batch(analyser, actions.storage, actions.turns))
        settings = EVENT
        marks = {
            "fn": clicked(actions.mark),
            "inputs": [state, marked],
            "outputs": drawn,
            "show_progress_on": marked,
            **settings,
        }

        def failed(error: Exception) -> dict[Any, Any]:
            """What went wrong with an ECG, under the upload; the result before it goes, lest it be taken for its."""
            gone = {hint: block(page.hint(), visible=True), result: gr.Column(visible=False), state: None}
            return {**gone, **asking.failed(error)}

        outputs = [upload, *shown, *asking.outputs]
        result_of = analyse.click(
            clicked(lambda *fields: asking.done(actions.show_upload(*fields)), failed),
            [upload, *asking.inputs, words, language, state],
            outputs,
            show_progress_on=[hint, paper],  # and not on the upload, whose name it would hide
            **settings,
        )
        result_of.success(**marks)
        result_of.then(None, js=FOCUS)
        upload.change(asking.forgotten, None, asking.outputs, **settings)
        for button, example in zip(examples, EXAMPLES, strict=True):
            show = clicked(
                lambda *fields, example=example: asking.done(actions.show_example(example, *fields)), failed
            )
            button.click(show, [words, language, state], outputs, **settings).success(**marks)
        marked.input(**marks)
        compared = compare.click(clicked(actions.compare), [state, words, language], [comparison], **settings)
        compared.then(None, js=page.TO_WORDS)
        language.input(WORDS.get, language, words, api_visibility="private")
    return blocks


def label_choice(analyser: Analyser, **settings: Any) -> Any:
    """Returns what a label is chosen by: buttons for a few, a list to search for many."""
    if len(analyser.labels) <= MANY:
        return gr.Radio(choices=[PLAIN, *(label.name for label in analyser.labels)], **settings)
    titled = [
        (label.name if label.title == label.name else f"{label.name}: {label.title}", label.name)
        for label in analyser.labels
    ]
    return gr.Dropdown(choices=[PLAIN, *titled], filterable=True, **settings)


def _text_tabs(analyser: Analyser) -> tuple[Any, ...]:
    """What compares the ECG with text; where that cannot be done, says why."""
    has_clip = analyser.zero_shot is not None
    with gr.Tab("Your own words"):
        if not has_clip:
            block(NO_CLIP_MODEL)
        with gr.Row(visible=has_clip):
            with gr.Column(scale=1, min_width=280):
                language = gr.Radio(list(TEMPLATES), value="Português", label="Language", elem_id="language")
                words = gr.Textbox(
                    WORDS["Português"], lines=6, max_lines=12, label="What might be seen, one a line", elem_id="words"
                )
                compare = gr.Button("Compare", elem_id="compare")
            with gr.Column(scale=1, min_width=280):
                comparison = block(elem_id="comparison")
    with gr.Tab("Nearest reports"):
        if analyser.reports is None:
            block(NO_REPORTS if has_clip else NO_CLIP_MODEL)
        nearest = block(elem_id="nearest")
    return words, language, compare, comparison, nearest


def launch(
    analyser: Analyser,
    host: str | None = None,
    port: int | None = None,
    origin: str = "",
    timeout_s: float = TIMEOUT_S,
    **kwargs: Any,
) -> tuple[Any, str, str]:
    """
    Serves the page until the process ends; nothing of it is fetched from anywhere else.

    Args:
        analyser ([`Analyser`]): The models.
        host (`str`, *optional*), port (`int`, *optional*): Gradio's own where left out.
        origin (`str`, *optional*): What the model was trained on, for the page's head.
        timeout_s (`float`, defaults to 60): What takes longer is given up.
        kwargs: Of `gradio.Blocks.launch`.

    Returns:
        `tuple` of the running application, its address, and an empty text in the place of a shared one.
    """
    system_fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    theme = gr.themes.Default(primary_hue="teal", font=system_fonts, font_mono=("ui-monospace", "monospace"))
    # White text on the theme's own lighter shade is hard to read.
    theme.set(button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800")
    mb = 2**20
    # Gradio reads uploads from below its own folder only.
    folder = Path(get_upload_folder()).resolve() / f"ecgclip-{secrets.token_hex(8)}"
    storage = Storage(
        folder, STORED_MB * mb, STORED_MB_OF_ONE * mb, UPLOADS, UPLOADS_OF_ONE, max_files=MAX_FILES, keep_s=KEEP_S
    )
    shelf, turns = Shelf(RESULTS, RESULTS_MB * mb, KEEP_S), Turns(timeout_s)
    actions = Page(analyser, storage, shelf, turns)
    gate = Middleware(
        Gate,
        storage,
        shelf,
        turns,
        actions.file,
        max_file_bytes=MAX_FILE_MB * mb,
        max_upload_bytes=MAX_UPLOAD_MB * mb,
        scripts={SCRIPT_PATH: script()},
        framed_by=HUB_SITES if os.environ.get("SPACE_ID") else "",
    )
    return (
        build_page(actions, origin)
        .queue(max_size=4 * turns.max_waiting)
        .launch(
            server_name=host,
            server_port=port,
            theme=theme,
            css=page.CSS + CSS + TABS_CSS,
            head=f'<script src=".{SCRIPT_PATH}"></script>',
            max_file_size=f"{MAX_FILE_MB}mb",
            state_session_capacity=RESULTS,
            app_kwargs={"middleware": [gate]},
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            pwa=False,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            **kwargs,
        )
    )


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments of the command line, with the environment's values in place of those left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    environment = os.environ.get
    parser.add_argument(
        "--model_name_or_path",
        default=environment("ECGCLIP_MODEL"),
        help="classifier: a folder that train_cls.py wrote or a model id on the Hub (environment: ECGCLIP_MODEL; "
        "default: the one that comes with ecgclip, with its dual encoder)",
    )
    parser.add_argument(
        "--clip_model_name_or_path",
        default=environment("ECGCLIP_CLIP_MODEL"),
        help="dual encoder of train_clip.py, for own words and nearest reports (environment: ECGCLIP_CLIP_MODEL)",
    )
    parser.add_argument(
        "--report_index",
        default=environment("ECGCLIP_REPORT_INDEX"),
        help="reports to search, from python -m space.index_reports (default: "
        f"the dual encoder's own {INDEX_FILE}; environment: ECGCLIP_REPORT_INDEX)",
    )
    parser.add_argument("--host", default=None, help="address to listen on (default 127.0.0.1; 0.0.0.0 for everyone)")
    parser.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    parser.add_argument(
        "--timeout_s", type=float, default=TIMEOUT_S, help=f"longest analysis (default {TIMEOUT_S:g} s)"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 2 where there is no model to run."""
    args = parse_arguments(argv)
    # Read by gradio wherever it would call home.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        origin = ""
        if not args.model_name_or_path:
            origin = "The model that comes with ecgclip was trained on simulated ECGs alone."
            args.model_name_or_path = str(pretrained_folder("cls"))
            args.clip_model_name_or_path = args.clip_model_name_or_path or str(pretrained_folder("clip"))
        for name in (args.model_name_or_path, args.clip_model_name_or_path or "."):
            if len(Path(name).parts) > 2 and not Path(name).is_dir():
                raise ValueError(f"{name}: no such folder: {WHAT_TO_DO}")
        analyser = Analyser.load(args.model_name_or_path, args.clip_model_name_or_path, args.report_index)
    except (OSError, ValueError, DamagedFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        served, address, _ = launch(analyser, args.host, args.port, origin, args.timeout_s)
    except Exception as error:  # what gradio raises where it cannot begin, whose advice is for programs
        reason = str(error).partition(". ")[0]
        print(
            f"error: the page could not be served ({reason}): name a free --port, and where this machine uses a proxy "
            "keep it from localhost (NO_PROXY=localhost,127.0.0.1)",
            file=sys.stderr,
        )
        return 2
    print(f"the page: {address}", flush=True)
    served.get_blocks().block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
