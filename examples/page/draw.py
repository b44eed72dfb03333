"""
Draws the pictures of docs/space.md: the page with the models that come with ecgclip, in a headless Chromium.

python -m examples.page.draw --output_dir docs/figures
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import argparse
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.writing import written_aside
from data_scripts.simulate.exam import simulate_exam
from data_scripts.text.reports import parse_report
from modeling_ecgclip.pretrained_ecgclip import pretrained_folder
from space.analysis import Analyser
from space.example_list import EXAMPLES
from space.nearest import ReportIndex, embed_reports, fingerprint


COLOURS = 256  # of a picture: paper, ink and marks need no more, and files stay small
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 1250}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
PHONE["device_scale_factor"] = 2
NORMAL, RBBB = EXAMPLES[0], EXAMPLES[1]
WAIT_MS = 120_000
# The models come without reports to search; these are of exams that are none of the examples.
N_REPORTS, REPORTS_SEED, PREVALENCE_SCALE = 300, 8, 8.0


def with_reports(analyser: Analyser) -> Analyser:
    """Returns an analyser that searches descriptions of simulated exams."""
    pipe: Any = analyser.zero_shot
    exams = (simulate_exam(REPORTS_SEED, index, PREVALENCE_SCALE) for index in range(N_REPORTS))
    reports = list(dict.fromkeys(parse_report(exam.report).description for exam in exams))
    places = embed_reports(pipe.model, pipe.tokenizer, reports)
    return replace(analyser, reports=ReportIndex(reports, places, fingerprint(pipe.model), "simulated"))


@contextmanager
def pages() -> Iterator[Any]:
    """Gives a function that opens the running page in a window and shows an example on it."""
    from playwright.sync_api import sync_playwright

    import app

    analyser = with_reports(Analyser.load(str(pretrained_folder("cls")), str(pretrained_folder("clip"))))
    served, url, _ = app.launch(analyser, "127.0.0.1")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])

            def show(window: dict[str, Any], title: str) -> Any:
                page = browser.new_context(**window).new_page()
                page.set_default_timeout(WAIT_MS)
                page.goto(url)
                page.get_by_role("button", name=title).click()
                page.locator("path[data-lead]").first.wait_for()
                return page

            yield show
            browser.close()
    finally:
        served.get_blocks().close(verbose=False)


def save(png: bytes, path: Path) -> None:
    """Writes a picture with few colours."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    image = image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    with written_aside(path) as aside:
        image.save(aside, format="png", optimize=True)


def tap(page: Any, lead: str, mark: str) -> None:
    """Sets the caliper on the first mark of a kind in a lead's own row."""
    x, y = page.evaluate(
        """([lead, mark]) => {
            const ecg = document.querySelector("ecg-tracing"), of = ecg.ecg.leads.indexOf(lead);
            const piece = ecg.pieces.find((one) => one.lead === of), box = ecg.svg.getBoundingClientRect();
            const there = ([sample, wave, point]) => sample > 500 && `${wave} ${point}` === mark;
            const [sample] = ecg.ecg.marks[of].find(there), scale = box.width / ecg.width;
            return [box.left + scale * ecg.x(piece, sample), box.top + scale * piece.y(sample)];
        }""",
        [lead, mark],
    )
    page.mouse.click(x, y)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the pictures")
    folder = parser.parse_args().output_dir
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with pages() as show:
        page = show(DESKTOP, RBBB.title)
        page.locator(".shade").first.wait_for(state="attached")
        save(page.screenshot(), folder / "space_desktop.png")
        page.get_by_role("tab", name="Nearest reports").click()
        page.locator("#nearest tbody tr").first.wait_for()
        save(page.locator("#nearest").screenshot(), folder / "space_reports.png")
        page = show(PHONE, RBBB.title)
        page.locator(".shade").first.wait_for(state="attached")
        page.locator("ecg-tracing").evaluate("element => element.scrollIntoView()")
        save(page.screenshot(), folder / "space_phone.png")
        page = show(DESKTOP, NORMAL.title)
        page.get_by_label("Speed").select_option("50 mm/s")
        page.get_by_label("Layout").select_option("12x1")
        page.get_by_label("True size").click()
        page.locator(".ec-sheet").evaluate("sheet => sheet.scrollTo(0, 0)")
        page.get_by_label("Caliper").check()
        tap(page, "II", "P onset")
        tap(page, "II", "QRS onset")
        box = page.locator("ecg-tracing").bounding_box()
        clip = {"x": box["x"], "y": box["y"], "width": box["width"], "height": 400}
        save(page.screenshot(clip=clip), folder / "space_caliper.png")
        page.get_by_role("tab", name="Compare two").click()
        page.locator("#compare-examples").click()
        page.locator("#beats svg").last.wait_for()
        page.locator(".ec-pair path[data-lead]").last.wait_for()
        page.locator("#changes").evaluate("element => element.scrollIntoView({block: 'end'})")
        save(page.screenshot(), folder / "space_compare.png")
        save(page.locator("#beats").screenshot(), folder / "space_beats.png")
        page.get_by_role("tab", name="Many").click()
        page.locator("#many-examples").click()
        page.locator("#many tbody tr").nth(len(EXAMPLES) - 1).wait_for()
        save(page.locator("#many").screenshot(), folder / "space_many.png")


if __name__ == "__main__":
    main()
