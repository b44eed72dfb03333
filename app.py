"""
The Space: upload an ECG and see it on paper, what a model finds in it, what drove that, and the nearest reports.

On a Space the environment variables ECGCLIP_MODEL, ECGCLIP_CLIP_MODEL and ECGCLIP_REPORT_INDEX name the models. On
your own machine `make app` runs it with the models that come with ecgclip (trained on simulated ECGs), or:

    python app.py --model_name_or_path someone/ecgclip-code15 --clip_model_name_or_path someone/ecgclip-clip
"""

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from modeling_ecgclip.pretrained_ecgclip import pretrained_folder
from space import page
from space.analysis import TEMPLATES, Analyser, Analysis
from space.example_list import EXAMPLES, Example
from space.findings import MANY
from space.nearest import INDEX_FILE
from space.report import build_json, build_pdf, draw_png, file_name
from space.uploads import FORM_TITLE, Form, read_upload


MAX_FILE_MB = 20
TIMEOUT_S = 60.0
MAX_WAITING = 16
MESSAGE_S = 30  # how long an error stays
KEEP_S, DELETE_EVERY_S = 1200, 300  # deleted when older than 20 minutes; looked for every 5
PLAIN = "nothing"
WHAT_TO_DO = (
    "name a classifier with --model_name_or_path (or the environment variable ECGCLIP_MODEL), or run `make app`, "
    "which takes the one that comes with ecgclip"
)
NO_CLIP_MODEL = (
    "This page runs without a dual encoder, which compares ECGs with text. Start it with `--clip_model_name_or_path` "
    "(on a Space: the variable `ECGCLIP_CLIP_MODEL`) to use your own words and to see the nearest reports."
)
NO_REPORTS = (
    f"This page has no set of reports to search. `python -m space.index_reports` makes one: `{INDEX_FILE}` in the "
    "dual encoder's folder or repository."
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


def one_message(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turns what is wrong with an ECG or a phrase into the one sentence that the page shows."""

    @wraps(function)
    def guarded(*args: Any) -> Any:
        try:
            return function(*args)
        except (ValueError, TypeError, FileNotFoundError, TimeoutError) as error:
            raise gr.Error(str(error), duration=MESSAGE_S, print_exception=False) from error

    return guarded


class Page:
    """
    What happens on the page.

    Args:
        analyser ([`Analyser`]): The models.
        results_dir (`Path`): Where files to download are written, which the server deletes after a while.
    """

    def __init__(self, analyser: Analyser, results_dir: Path):
        self.analyser = analyser
        self.results_dir = results_dir

    def show_upload(self, paths: list[str] | None, *fields: Any) -> list[Any]:
        """Analyses an upload; `fields` are those of [`Form`], in its order, then words, language and marks."""
        *stated, words, language, waves = fields
        form = Form(*stated)
        return self.analyser.within_time(self._show_new, paths or [], form, words, language, waves, None)

    def show_example(self, example: Example, words: str, language: str, waves: bool) -> list[Any]:
        """Analyses an example."""
        title = f"Simulated example: {example.title.lower()}"
        return self.analyser.within_time(self._show_new, example.paths, Form(), words, language, waves, title)

    def _show_new(
        self, paths: Sequence[str | Path], form: Form, words: str, language: str, waves: bool, name: str | None
    ) -> list[Any]:
        """All outputs for a new ECG."""
        record, notes = read_upload(paths, form)
        record = record if name is None else replace(record, name=name)
        analysis = self.analyser.analyse(record, notes, form.repair_nan, form.allow_missing_leads)
        strongest = analysis.strongest_label
        analysis = replace(self.analyser.explain(analysis, strongest), wave_marks=waves)
        comparison = ""
        if self.analyser.zero_shot is not None:
            try:
                analysis = self.analyser.compare(analysis, words, language)
                comparison = page.words(analysis)
            except ValueError as error:
                # The ECG is fine; only the phrases, which may be half typed, are not.
                comparison = f"Your own words: {error}"
        return [
            gr.HTML(visible=False),
            gr.Column(visible=True),
            page.facts(analysis),
            page.measurements(analysis),
            page.findings(analysis),
            comparison,
            page.nearest(analysis) if analysis.nearest else "",
            label_choice(self.analyser, value=strongest),
            *self._show_drawn(analysis),
        ]

    def mark(self, analysis: Analysis, label: str) -> list[Any]:
        """Marks what drove another label, or nothing."""
        if label == PLAIN:
            return self.analyser.within_time(self._show_drawn, replace(analysis, saliency=None))
        return self.analyser.within_time(lambda: self._show_drawn(self.analyser.explain(analysis, label)))

    def mark_waves(self, analysis: Analysis, waves: bool) -> list[Any]:
        """Marks where P, QRS and T begin and end, or not."""
        return self.analyser.within_time(self._show_drawn, replace(analysis, wave_marks=waves))

    def compare(self, analysis: Analysis, words: str, language: str) -> list[Any]:
        """Compares the ECG with the user's own words."""

        def compared() -> list[Any]:
            result = self.analyser.compare(analysis, words, language)
            return [page.words(result), *self._files(result)]

        return self.analyser.within_time(compared)

    def _show_drawn(self, analysis: Analysis) -> list[Any]:
        """Outputs that follow the drawing."""
        return [page.paper(analysis, *draw_png(analysis)), page.saliency(analysis), *self._files(analysis)]

    def _files(self, analysis: Analysis) -> list[Any]:
        """The two downloads and the state."""
        # A folder that nobody can guess: whoever knows a path may download it.
        folder = self.results_dir / secrets.token_hex(16)
        folder.mkdir(parents=True)
        written = []
        for suffix, content in ((".json", build_json(analysis)), (".pdf", build_pdf(analysis))):
            path = folder / file_name(analysis, suffix)
            path.write_bytes(content)
            written.append(str(path))
        return [*written, analysis]


def build_page(analyser: Analyser, origin: str = "") -> gr.Blocks:
    """Returns the page; [`launch`] serves it. `origin` says what the model was trained on."""
    options: dict[str, Any] = {"title": "ecgclip", "analytics_enabled": False, "fill_width": True}
    with gr.Blocks(**options, delete_cache=(DELETE_EVERY_S, KEEP_S)) as blocks:
        gr.HTML(page.head(origin))
        state = gr.State(None, time_to_live=KEEP_S)
        with gr.Row():
            with gr.Column(scale=1, min_width=290):
                upload = gr.File(label="ECG", file_count="multiple", height=170, elem_id="upload")
                gr.HTML(page.limits(MAX_FILE_MB, (KEEP_S + DELETE_EVERY_S) // 60))
                with gr.Accordion(FORM_TITLE, open=False):
                    form = _form()
                analyse = gr.Button("Analyse", variant="primary", elem_id="analyse")
                gr.Markdown("**Or a simulated example** (no patient):")
                examples = [gr.Button(example.title, size="sm") for example in EXAMPLES]
            with gr.Column(scale=3, min_width=280):
                hint = gr.HTML(page.hint())
                with gr.Column(visible=False, elem_id="result") as result:
                    facts = gr.HTML(elem_id="facts")
                    measurements = gr.HTML(elem_id="measurements")
                    paper = gr.HTML(elem_id="paper")
                    waves = gr.Checkbox(True, label="Mark where P, QRS and T begin and end", elem_id="waves")
                    marked = label_choice(analyser, label="Mark on the tracing what drove", elem_id="marked")
                    saliency = gr.HTML()
                    findings = gr.HTML(elem_id="findings")
                    words, language, compare, comparison, nearest = _text_tabs(analyser)
                    with gr.Row():
                        json_file = gr.DownloadButton("Download JSON", elem_id="json", size="md", min_width=120)
                        pdf_file = gr.DownloadButton("Download PDF", elem_id="pdf", size="md", min_width=120)
        actions = Page(analyser, Path(json_file.GRADIO_CACHE))
        drawn = [paper, saliency, json_file, pdf_file, state]
        shown = [hint, result, facts, measurements, findings, comparison, nearest, marked, *drawn]
        settings: dict[str, Any] = {"concurrency_id": "ecg", "concurrency_limit": 1, "api_visibility": "private"}
        analyse.click(
            one_message(actions.show_upload),
            [upload, *form, words, language, waves],
            shown,
            scroll_to_output=True,
            **settings,
        )
        for button, example in zip(examples, EXAMPLES, strict=True):
            show = one_message(lambda *fields, example=example: actions.show_example(example, *fields))
            button.click(show, [words, language, waves], shown, scroll_to_output=True, **settings)
        marked.input(one_message(actions.mark), [state, marked], drawn, **settings)
        waves.input(one_message(actions.mark_waves), [state, waves], drawn, **settings)
        compare.click(one_message(actions.compare), [state, words, language], [comparison, *drawn[2:]], **settings)
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


def _form() -> list[Any]:
    """The fields of [`Form`], in its order."""
    return [
        gr.Number(None, label="Sampling rate, Hz", minimum=0, elem_id="rate"),
        gr.Dropdown([("as the file states", ""), "mV", "uV", "V"], value="", label="Unit", elem_id="unit"),
        gr.Textbox(
            label="Leads in the order of the file", placeholder="I, II, III, aVR, aVL, aVF, V1 ... V6", max_lines=2
        ),
        gr.Textbox(label="Exam id (HDF5)", max_lines=1),
        gr.Checkbox(False, label="Fill short gaps of samples that were not recorded"),
        gr.Checkbox(False, label="Accept missing leads"),
    ]


def _text_tabs(analyser: Analyser) -> tuple[Any, ...]:
    """What compares the ECG with text; where that cannot be done, says why."""
    has_clip = analyser.zero_shot is not None
    with gr.Tab("Your own words"):
        if not has_clip:
            gr.Markdown(NO_CLIP_MODEL)
        with gr.Row(visible=has_clip):
            with gr.Column(scale=1, min_width=280):
                language = gr.Radio(list(TEMPLATES), value="Português", label="Language", elem_id="language")
                words = gr.Textbox(
                    WORDS["Português"], lines=6, max_lines=12, label="What might be seen, one a line", elem_id="words"
                )
                compare = gr.Button("Compare", elem_id="compare")
            with gr.Column(scale=1, min_width=280):
                comparison = gr.HTML(elem_id="comparison")
    with gr.Tab("Nearest reports"):
        if analyser.reports is None:
            gr.Markdown(NO_REPORTS if has_clip else NO_CLIP_MODEL)
        nearest = gr.HTML(elem_id="nearest")
    return words, language, compare, comparison, nearest


def launch(
    analyser: Analyser, host: str | None = None, port: int | None = None, origin: str = "", **kwargs: Any
) -> tuple[Any, str, str]:
    """
    Serves the page; nothing of it is fetched from anywhere else.

    Args:
        analyser ([`Analyser`]): The models.
        host (`str`, *optional*), port (`int`, *optional*): Gradio's own where left out.
        origin (`str`, *optional*): What the model was trained on, for the page's head.
        kwargs: Of `gradio.Blocks.launch`.
    """
    system_fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    theme = gr.themes.Default(primary_hue="teal", font=system_fonts, font_mono=("ui-monospace", "monospace"))
    # White text on the theme's own lighter shade is hard to read.
    theme.set(button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800")
    blocks = build_page(analyser, origin).queue(max_size=MAX_WAITING, default_concurrency_limit=1)
    return blocks.launch(
        server_name=host,
        server_port=port,
        theme=theme,
        css=page.CSS,
        max_file_size=f"{MAX_FILE_MB}mb",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        share=False,
        **kwargs,
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
        analyser = Analyser.load(
            args.model_name_or_path, args.clip_model_name_or_path, args.report_index, args.timeout_s
        )
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    launch(analyser, args.host, args.port, origin)
    return 0


if __name__ == "__main__":
    sys.exit(main())
