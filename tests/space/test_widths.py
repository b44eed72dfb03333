"""What the page does, in a browser as wide as a desktop, a tablet and a phone."""

import csv
import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from modeling_ecgclip.formats_ecgclip import FORMATS
from space.example_list import EXAMPLES, FOLDER
from space.uploads import Form, read_upload
from tests.browser import WIDTHS, chromium, sync_api
from tests.modeling_ecgclip.test_fuzz_every_format import files_of_every_kind
from tests.page_driver import (
    app,
    choose,
    choose_unit,
    in_sight,
    no_field_is_shown,
    opened,
    part_of,
    press,
    served,
    shown_fields,
    shown_scores,
    trouble_of,
    upload,
)


# Elements that are seen and stand out of the window sideways, but for what scrolls in a box of its own.
OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(one => {
    const { left, right, width, height } = one.getBoundingClientRect();
    if (!width || !height || !one.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    for (let box = one.parentElement; box; box = box.parentElement)
        if (/auto|scroll/.test(getComputedStyle(box).overflowX) && box !== document.body) return false;
    return left < -0.5 || right > innerWidth + 0.5;
}).map(one => one.outerHTML.slice(0, 100))"""
# Words, or the parts of a file's name, that go on in another line.
BROKEN = """box => {
    const broken = [], texts = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) for (const word of texts.currentNode.data.matchAll(/\\S+/g)) {
        const range = document.createRange();
        range.setStart(texts.currentNode, word.index);
        range.setEnd(texts.currentNode, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size > 1) broken.push(word[0]);
    }
    return broken;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the running page keeps files."""
    return tmp_path_factory.mktemp("gradio")


@pytest.fixture(scope="module")
def contexts(analyser, folder):
    """A browser of each width, and the address of the page."""
    with served(analyser, folder) as url, chromium() as browser:
        yield {width: browser.new_context(**window) for width, window in WIDTHS.items()}, url


@pytest.fixture(params=WIDTHS)
def page(request, contexts):
    """The page in a window of each width; whatever a test does there, nothing stands out of it in the end."""
    of_width, url = contexts
    with opened(of_width[request.param], url) as page:
        yield page
        assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [request.param] * 2
        assert page.evaluate(OUTSIDE) == []


@pytest.fixture(scope="module")
def kinds(tmp_path_factory, files):
    """An ECG of each kind that the page reads: its name and its files."""
    made, found = tmp_path_factory.mktemp("made"), {}
    target = tmp_path_factory.mktemp("kinds")
    for kind, (path, _) in files_of_every_kind(made).items():
        if path.suffix == ".hea":
            found[path.name] = [path, *(one for one in path.parent.iterdir() if one.suffix == ".dat")]
        else:
            name = f"{kind.split()[0]}{path.suffix}"
            # Arrays and tables whose numbers are an ECG with what the page then asks for.
            found[name] = [Path(shutil.copy(files.get(path.suffix[1:], path), target / name))]
    assert len({name.partition(".")[0] for name in found} - {"ecg"}) == len(FORMATS) - 1  # WFDB is "ecg.hea"
    return found


def is_phone(page):
    return page.viewport_size["width"] == min(WIDTHS)


def scrolled_to(page, selector):
    """Waits until a result begins in the upper half of the window."""
    page.wait_for_function(
        """selector => {
            const { top, height } = document.querySelector(selector).getBoundingClientRect();
            return height > 0 && top >= -1 && top <= innerHeight / 2;
        }""",
        arg=selector,
    )


def test_example_and_zoom(page):
    press(page.get_by_role("button", name=EXAMPLES[1].title))
    assert len(shown_scores(page)) == 6
    scrolled_to(page, "#result")
    in_sight(page.locator("#facts h2"))
    for one in page.locator("#findings tr[data-label]").all():
        assert one.locator(".ec-bar").bounding_box()["width"] >= 48
        assert one.locator(".ec-number").first.is_visible() and one.locator(".ec-decision").is_visible()
    assert page.evaluate(BROKEN, page.locator("#findings").element_handle()) == []
    sheet, percent = page.locator("#paper .ec-sheet"), page.locator("#paper output")
    assert (percent.inner_text() == "100 %") == is_phone(page)
    drawn = sheet.locator("svg").bounding_box()["width"]
    press(page.get_by_label("Larger"))
    assert sheet.locator("svg").bounding_box()["width"] == pytest.approx(1.25 * drawn, rel=0.01)
    sheet.evaluate("sheet => sheet.scrollTo(80, 0)")
    assert sheet.evaluate("sheet => sheet.scrollLeft") == 80
    for tab in ("Nearest reports", "Your own words"):
        press(page.get_by_role("tab", name=tab))
        assert page.evaluate(OUTSIDE) == []


def test_upload_of_each_kind_of_file(page, kinds):
    for name, paths in kinds.items():
        upload(page, paths)
        shown = page.locator("#facts h2").filter(has_text=name)
        page.locator("#trouble .ec-trouble").filter(has_text=name).or_(shown).first.wait_for()
        asked = shown_fields(page)
        if asked:
            assert name in trouble_of(page)
            for field, value in (("rate", "400"), ("exam", "7")):
                if field in asked:
                    page.locator(f"#{field} input, #{field} textarea").fill(value)
            if "unit" in asked:
                choose_unit(page, "mV")
            press(page.locator("#analyse"))
        shown.wait_for()
        scrolled_to(page, "#result")
        assert page.evaluate(OUTSIDE) == [], name
        page.locator("#upload").get_by_text("Drop File Here").wait_for()
        no_field_is_shown(page)


def test_error_stands_below_the_upload_and_the_page_goes_on(page, tmp_path):
    name = "a_file_of_the_ward_of_cardiology_that_holds_no_recording_whatever_its_name_says.npy"
    (tmp_path / name).write_bytes(b"no array")
    assert shown_fields(page) == []
    press(page.get_by_role("button", name=EXAMPLES[2].title))
    shown_scores(page)
    upload(page, [tmp_path / name])
    message = trouble_of(page)
    assert shown_fields(page) == []
    assert f"{name}: not a" in message
    assert "Traceback" not in page.content()
    assert str(tmp_path) not in message
    assert "gradio" not in message
    press(page.get_by_role("button", name=EXAMPLES[2].title))
    assert len(shown_scores(page)) == 6
    sync_api.expect(page.locator("#trouble")).to_be_hidden()


def test_own_words_with_bars_and_remarks_and_nearest_reports(page, analyser):
    phrases = ["wide QRS, rSR' in V1 and wide S in V6", "banana", "irregular RR intervals and no P waves"]
    analysis = analyser.analyse(*read_upload(EXAMPLES[1].paths, Form()))
    expected = analyser.compare(analysis, "\n".join(phrases), "English").words
    assert any(one["remark"] for one in expected)
    press(page.get_by_role("button", name=EXAMPLES[1].title))
    page.locator("#comparison tr").first.wait_for()
    press(page.locator("#language").get_by_text("English"))
    sync_api.expect(page.locator("#words textarea")).to_have_value(app.WORDS["English"])
    page.locator("#words textarea").fill("\n".join(phrases))
    press(page.locator("#compare"))
    rows = page.locator("#comparison tbody tr")
    page.locator("#comparison").get_by_text("banana").wait_for()
    in_sight(page.locator("#comparison table"))
    for row, one in zip(rows.all(), expected, strict=True):
        text = row.inner_text()
        assert one["label"] in text and f"{100 * one['score']:.1f} %" in text
        assert (one["remark"] or "ahead of") in text
        bar = row.locator(".ec-bar").bounding_box()
        assert bar["width"] >= 48
        filled = row.locator(".ec-bar i").bounding_box()["width"]
        assert filled / bar["width"] == pytest.approx(one["score"], abs=0.05)
    assert page.evaluate(BROKEN, page.locator("#comparison").element_handle()) == []
    page.locator("#words textarea").fill("only one")
    press(page.locator("#compare"))
    trouble = page.locator("#comparison .ec-trouble").get_by_text("expected 2 to 20 phrases")
    trouble.wait_for()
    in_sight(trouble)
    press(page.get_by_role("tab", name="Nearest reports"))
    sync_api.expect(page.locator("#nearest tbody tr")).to_have_count(5)
    in_sight(page.locator("#nearest tbody tr").first)
    assert page.locator("#nearest .ec-report").first.inner_text() in analyser.reports.reports


def test_the_last_result_is_compared_with_an_earlier_ecg(page, analyser):
    press(page.get_by_role("button", name=EXAMPLES[2].title))
    new = shown_scores(page)
    part_of(page, "Compare two")
    choose(page, "earlier", EXAMPLES[0].paths)
    press(page.locator("#compare-two"))
    page.locator("#changes tr[data-change]").first.wait_for()
    scrolled_to(page, ".ec-pair")
    assert page.locator("#comparison-of-two path[data-lead]").count() == 2 * 13
    assert page.locator("#beats .ec-beat").count() == 12
    earlier = {one["label"]: one["score"] for one in analyser.classifier(str(EXAMPLES[0].paths[0]))}
    for label, score in new.items():
        row = page.locator(f"#changes tr[data-change='{label}']")
        assert row.locator(".ec-number").all_inner_texts()[:2] == [
            f"{100 * one:.1f} %" for one in (earlier[label], score)
        ]
        assert row.locator("th").bounding_box()["width"] >= 100
    assert page.locator("#changes tr[data-change=heart_rate_bpm]").inner_text().startswith("Heart rate")
    assert page.evaluate(BROKEN, page.locator("#changes").element_handle()) == []
    assert page.evaluate(OUTSIDE) == []
    if is_phone(page):  # each tracing scrolls in its own box
        for sheet in page.locator(".ec-pair .ec-sheet").all():
            sheet.evaluate("sheet => sheet.scrollTo(400, 0)")
            assert sheet.evaluate("sheet => [sheet.scrollLeft, sheet.clientWidth > 340]") == [400, True]
    press(page.locator("#compare-two"))
    assert "found no earlier one" in trouble_of(page, "two")
    assert page.locator(".ec-pair").count() == 0
    press(page.locator("#compare-examples"))
    page.locator(".ec-pair").wait_for()
    sync_api.expect(page.locator("#trouble-of-two")).to_be_hidden()


def test_many_are_read_into_a_table_and_downloaded(page, analyser, folder, tmp_path):
    files = {f"w/{name}": (FOLDER / name).read_bytes() for name in EXAMPLES[0].files + EXAMPLES[1].files}
    with zipfile.ZipFile(tmp_path / "ward.zip", "w") as archive:
        for name, content in {**files, "w/a_broken_one.npy": b"no array"}.items():
            archive.writestr(name, content)
    (tmp_path / "no_ecg.csv").write_text("no ECG")
    part_of(page, "Many")
    choose(page, "many-files", [tmp_path / "ward.zip", tmp_path / "no_ecg.csv"])
    press(page.locator("#read-many"))
    page.locator("#progress").get_by_text("2 read, 2 refused").wait_for()
    sync_api.expect(page.locator("#progress")).not_to_contain_text("to go")
    rows = page.locator("#many tbody tr")
    sync_api.expect(rows).to_have_count(4)
    in_sight(page.locator("#progress"))
    in_sight(rows.first.locator("th"))
    for name in rows.locator("th").all():
        assert page.evaluate(BROKEN, name.element_handle()) == []
    # What has no room scrolls in the table's own box, beside the names, which stay.
    box = page.locator(".ec-many")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth + 100") == (page.viewport_size["width"] < 1440)
    box.evaluate("box => box.scrollTo(1e6, 0)")
    left, right = (box.bounding_box()[key] for key in ("x", "width"))
    assert rows.first.locator("th").bounding_box()["x"] == pytest.approx(left, abs=2)
    last = page.get_by_role("button", name="remarks").bounding_box()
    assert left < last["x"] and last["x"] + last["width"] <= left + right
    box.evaluate("box => box.scrollTo(0, 0)")
    for order in (1, -1):
        press(page.get_by_role("button", name="Heart rate"))
        rates = page.locator("#many tbody tr.ec-read td:nth-child(3)").all_inner_texts()
        assert [float(one) for one in rates] == sorted(map(float, rates), reverse=order < 0)
        assert rows.last.get_attribute("class") == "ec-refused"
    with page.expect_download() as download:
        press(page.locator("#csv"))
    assert download.value.suggested_filename == "ecgclip.csv"
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        lines = {Path(line["file"]).name: line for line in csv.DictReader(file)}
    for example in EXAMPLES[:2]:
        expected = {one["label"]: one["score"] for one in analyser.classifier(str(example.paths[0]))}
        assert {label: float(lines[example.files[0]][label]) for label in expected} == expected
    assert lines["a_broken_one.npy"]["reason"].startswith("not a numeric numpy file")
    assert list(folder.rglob("*.zip")) == []
    press(page.locator("#read-many"))
    assert "expected 1 to 100 ECGs" in trouble_of(page, "many")
    sync_api.expect(rows).to_have_count(4)


def test_downloads_hold_what_is_shown_and_no_file_stays(page, folder, tmp_path):
    shutil.copy(EXAMPLES[3].paths[0], tmp_path / "ecg.npz")
    upload(page, [tmp_path / "ecg.npz"])
    scores = shown_scores(page)
    with page.expect_download() as download:
        press(page.locator("#json"))
    content = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert {one["label"]: one["score"] for one in content["probabilities"]} == pytest.approx(scores, abs=1e-8)
    assert content["file"] == "ecg.npz"
    assert len(content["own_words"]) == len(content["nearest_reports"]) == 5
    assert download.value.suggested_filename == "ecg_ecgclip.json"
    with page.expect_download() as download:
        press(page.locator("#pdf"))
    pdf = Path(download.value.path()).read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 2
    assert list(folder.rglob("ecg*.*")) == []
