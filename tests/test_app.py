"""The page, end to end in a browser, and its command line."""

import csv
import json
import re
import shutil
import socket
import zipfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import h5py
import numpy as np
import pytest
from transformers import pipeline

from modeling_ecgclip import LEAD_NAMES, EcgClassificationPipeline, Label
from space.analysis import Analyser
from space.example_list import EXAMPLES, FOLDER
from space.shelf import Shelf
from space.storage import Storage
from space.turns import Turns
from space.uploads import MAX_FILE_MB
from tests.browser import PHONE, REQUIRED, chromium, sync_api
from tests.hostile_files import HOSTILE, SHORT, hostile_files
from tests.space_models import MANY, write_classifier, write_models


WAIT_MS = 60_000
# What hostile text would become, were it HTML.
ELEMENTS = (
    '() => [...document.querySelectorAll(\'form, iframe, object, embed, script, img, a[href*="//127.0.0.1:9"],'
    " [onload], [onerror], input[name=password]')].map(one => one.outerHTML.slice(0, 200)).concat(String(window.hit))"
)

if REQUIRED:
    import gradio
else:
    gradio = pytest.importorskip("gradio", reason="the page needs gradio: pip install -e '.[app]'")

import app  # noqa: E402  # it imports gradio


@pytest.fixture(scope="module")
def models(tmp_path_factory, text_model, exam_table):
    return write_models(tmp_path_factory.mktemp("app-models"), text_model, exam_table)


@pytest.fixture(scope="module")
def analyser(models):
    return Analyser.load(*map(str, models))


@pytest.fixture(scope="module")
def server(analyser, tmp_path_factory):
    """Address of the running page, its blocks, and the folder of its files."""
    folder = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        served, url, _ = app.launch(analyser, "127.0.0.1")
        yield url, served.get_blocks(), folder
        served.get_blocks().close(verbose=False)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def desktop(browser):
    """What pages on a desktop share: the browser's cache above all."""
    return browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)


@pytest.fixture
def visit(desktop, server):
    """Opens the page; in the end no request may have left this machine and no script have failed."""
    pages, outside, failures = [], [], []

    def watch(request):
        if not request.url.startswith((server[0], "data:", "blob:")):
            outside.append(request.url)

    def open_page(context=desktop):
        page = context.new_page()
        pages.append(page)
        page.set_default_timeout(WAIT_MS)
        page.on("request", watch)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(server[0])
        page.locator("#analyse").wait_for()
        return page

    yield open_page
    for page in pages:
        page.close()
    assert outside == []
    assert failures == []


def upload(page, paths):
    """Chooses files, waits until they are on the server, and presses the button."""
    page.locator("#upload input[type=file]").set_input_files([str(path) for path in paths])
    for path in paths:
        page.locator("#upload").get_by_text(Path(path).stem).first.wait_for()
    page.locator("#analyse").click()


def shown_scores(page):
    page.locator("#findings tr[data-label]").first.wait_for()
    rows = page.locator("#findings tr[data-label]").all()
    return {row.get_attribute("data-label"): float(row.get_attribute("data-score")) for row in rows}


def marked(page, label):
    """The tracing, once what drove a label is marked on it."""
    drawing = page.locator("#paper ecg-tracing")
    said = re.compile(f"marked where it drove {re.escape(label)}")
    sync_api.expect(drawing).to_have_attribute("aria-label", said, timeout=WAIT_MS)
    drawing.locator(".shade").first.wait_for(state="attached")
    return drawing


def trouble_of(page):
    """The message under the upload; nothing of an ECG is shown beside it, and no message elsewhere."""
    trouble = page.locator("#trouble .ec-trouble")
    trouble.wait_for()
    assert not page.locator("#result").is_visible()
    assert page.locator(".toast-body, [data-testid=toast-body]").count() == 0
    assert trouble.bounding_box()["y"] - page.locator("#upload").bounding_box()["y"] < 250
    return trouble.inner_text()


def shown_fields(page):
    """The fields that are asked for."""
    return [
        name
        for name in ("rate", "unit", "leads", "exam", "repair", "missing")
        if page.locator(f"#{name}").is_visible()
    ]


def error_of(page):
    """The text of the one message that the page's own framework shows."""
    toast = page.locator(".toast-body, .toast-wrap .error, [data-testid=toast-body]").first
    toast.wait_for()
    return toast.inner_text()


def test_uploaded_record_gives_the_pipelines_result(visit, models):
    page = visit()
    upload(page, EXAMPLES[0].paths)
    classify = pipeline("ecg-classification", model=str(models[0]), pipeline_class=EcgClassificationPipeline)
    expected = {one["label"]: one["score"] for one in classify(str(EXAMPLES[0].paths[0]))}
    assert shown_scores(page) == pytest.approx(expected, abs=1e-8)
    assert page.get_by_role("heading", name="simulated_normal.hea").is_visible()
    drawn = page.locator("#paper svg").bounding_box()
    assert drawn["width"] > 600
    assert drawn["height"] > 250
    assert page.locator("#paper path[data-lead]").count() == 13
    assert page.get_by_text("Research software, not a medical device").first.is_visible()
    label = page.locator("#paper ecg-tracing").get_attribute("aria-label")
    assert label.startswith("12-lead ECG simulated_normal.hea")


def test_bad_file_gives_one_message_and_the_page_goes_on(visit, tmp_path):
    (tmp_path / "broken.npy").write_bytes(b"no array")
    page = visit()
    assert shown_fields(page) == []
    page.get_by_role("button", name=EXAMPLES[2].title).click()
    shown_scores(page)
    upload(page, [tmp_path / "broken.npy"])
    message = trouble_of(page)
    assert shown_fields(page) == []
    assert "broken.npy: not a" in message
    assert "Traceback" not in page.content()
    assert str(tmp_path) not in message
    assert "gradio" not in message
    page.get_by_role("button", name=EXAMPLES[2].title).click()
    assert len(shown_scores(page)) == 6
    sync_api.expect(page.locator("#trouble")).to_be_hidden()


def test_form_states_what_the_file_does_not(visit, tmp_path, models):
    ecg = np.load(EXAMPLES[2].paths[0])["ecg"]
    np.savetxt(tmp_path / "ecg.csv", ecg.T, delimiter=",", fmt="%.6f")
    page = visit()
    upload(page, [tmp_path / "ecg.csv"])
    assert "ecg.csv: the file does not state its sampling rate and its unit" in trouble_of(page)
    assert shown_fields(page) == ["rate", "unit", "leads"]
    sync_api.expect(page.locator("#rate input")).to_be_focused()
    page.keyboard.type("400")
    page.locator("#unit input").click()
    page.get_by_role("option", name="mV", exact=True).click()
    page.locator("#analyse").click()
    classify = pipeline("ecg-classification", model=str(models[0]), pipeline_class=EcgClassificationPipeline)
    results = classify(str(tmp_path / "ecg.csv"), sampling_rate=400, unit="mV")
    assert shown_scores(page) == pytest.approx({one["label"]: one["score"] for one in results}, abs=1e-8)
    assert page.get_by_text("The leads are not named: taken to be I, II, III").is_visible()
    assert shown_fields(page) == []
    np.savez(tmp_path / "few.npz", ecg=ecg[:6], sampling_rate=400.0, unit="mV", lead_names=LEAD_NAMES[:6])
    upload(page, [tmp_path / "few.npz"])
    assert trouble_of(page).endswith("missing V1, V2, V3, V4, V5, V6.")
    assert shown_fields(page) == ["missing"]
    page.locator("#missing input").click()
    page.locator("#analyse").click()
    page.get_by_role("heading", name="few.npz").wait_for()


def test_own_words_and_nearest_reports(visit, analyser):
    page = visit()
    page.get_by_role("button", name=EXAMPLES[1].title).click()
    page.locator("#comparison tr").first.wait_for()
    page.locator("#language").get_by_text("English").click()
    sync_api.expect(page.locator("#words textarea")).to_have_value(app.WORDS["English"])
    page.locator("#words textarea").fill("wide QRS\nno P waves\nsomething else")
    page.locator("#compare").click()
    sync_api.expect(page.locator("#comparison tbody tr")).to_have_count(3, timeout=WAIT_MS)
    expected = analyser.zero_shot(
        str(EXAMPLES[1].paths[0]),
        candidate_labels=["wide QRS", "no P waves", "something else"],
        hypothesis_template="Electrocardiogram with {}.",
    )
    rows = [row.inner_text() for row in page.locator("#comparison tbody tr").all()]
    for row, one in zip(rows, expected, strict=True):
        assert one["label"] in row
        assert f"{100 * one['score']:.1f} %" in row
    page.locator("#words textarea").fill("banana\nwide QRS")
    page.locator("#compare").click()
    page.locator("#comparison").get_by_text("banana").wait_for()
    assert page.locator("#comparison .ec-similarity").count() == 3
    page.locator("#words textarea").fill("only one")
    page.locator("#compare").click()
    page.locator("#comparison .ec-trouble").get_by_text("expected 2 to 20 phrases").wait_for()
    page.get_by_role("tab", name="Nearest reports").click()
    rows = page.locator("#nearest tbody tr")
    sync_api.expect(rows).to_have_count(5)
    assert rows.first.locator(".ec-report").inner_text() in analyser.reports.reports


def test_marks_change_with_the_label(visit):
    page = visit()
    page.get_by_role("button", name=EXAMPLES[2].title).click()
    shown_scores(page)
    # Of itself the page marks what drove a probability that passes its threshold, and nothing else.
    positive = [row.get_attribute("data-label") for row in page.locator("#findings tr.ec-positive").all()]
    assert page.locator("#marked input:checked").get_attribute("value") == [*positive, "nothing"][0]
    page.locator("#marked").get_by_text("SB", exact=True).click()
    drawing = marked(page, "SB")
    page.locator("#paper [name=layout]").select_option("6x2")
    page.locator("#marked").get_by_text("nothing", exact=True).click()
    sync_api.expect(drawing).not_to_have_attribute("aria-label", re.compile("marked"))
    sync_api.expect(drawing.locator(".shade")).to_have_count(0)
    assert page.locator("#paper path[data-lead]").count() == 12  # what was chosen on the tracing stays
    assert page.locator("#measurements [data-measure]").count() == 10


def test_downloads_hold_what_is_shown_and_no_file_stays(visit, server, tmp_path):
    shutil.copy(EXAMPLES[3].paths[0], tmp_path / "ecg.npz")
    page = visit()
    upload(page, [tmp_path / "ecg.npz"])
    scores = shown_scores(page)
    with page.expect_download() as download:
        page.locator("#json").click()
    content = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert {one["label"]: one["score"] for one in content["probabilities"]} == pytest.approx(scores, abs=1e-8)
    assert content["file"] == "ecg.npz"
    assert len(content["own_words"]) == len(content["nearest_reports"]) == 5
    assert download.value.suggested_filename == "ecg_ecgclip.json"
    with page.expect_download() as download:
        page.locator("#pdf").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-")
    assert list(server[2].rglob("ecg*.*")) == []


def test_phone(visit, browser):
    page = visit(browser.new_context(**PHONE))
    width = PHONE["viewport"]["width"]
    page.get_by_role("button", name=EXAMPLES[1].title).tap()
    shown_scores(page)
    page.wait_for_function("Math.abs(document.querySelector('#result').getBoundingClientRect().top) < 60")
    assert page.locator("#paper output").inner_text() == "100 %"
    sheet = page.locator("#paper .ec-sheet")
    sheet.evaluate("sheet => sheet.scrollTo(400, 0)")
    assert sheet.evaluate("sheet => [sheet.scrollLeft, sheet.clientWidth > 340]") == [400, True]
    for tab in ("Nearest reports", "Your own words"):
        page.get_by_role("tab", name=tab).tap()
        assert page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]") == [width] * 2


def test_many_labels_do_not_break_the_page(browser, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    analyser = Analyser.load(str(write_classifier(tmp_path / "many", MANY, thresholds=(0.999,) * len(MANY))))
    served, url, _ = app.launch(analyser, "127.0.0.1")
    try:
        page = browser.new_context(**PHONE).new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(url)
        page.get_by_role("button", name=EXAMPLES[2].title).tap()
        assert len(shown_scores(page)) == len(MANY)
        rows = page.locator("#findings tr[data-label]")
        assert sum(row.is_visible() for row in rows.all()) == 8
        page.get_by_text("Show all 71").tap()
        assert all(row.is_visible() for row in rows.all())
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["viewport"]["width"]
        page.locator("#marked input").fill("L44")
        page.get_by_role("option", name="L44: statement number 44").click()
        marked(page, "L44")
    finally:
        served.get_blocks().close(verbose=False)


def test_what_a_file_holds_is_only_text(visit, tmp_path):
    files = hostile_files(tmp_path)
    assert len(files) > 16
    page = visit()
    refused = []
    page.on("console", lambda told: refused.append(told.text) if "Content Security Policy" in told.text else None)
    before = page.evaluate(ELEMENTS)
    seen = {}
    for kind, paths in files.items():
        upload(page, paths)
        answer = page.locator("#trouble .ec-trouble, #facts").filter(has_text=paths[0].name).first
        answer.wait_for()
        seen[kind] = answer.inner_text()
        assert page.evaluate(ELEMENTS) == before, kind
        if answer.get_attribute("id") != "facts":  # it was refused, and stays for another try
            page.locator("#upload").get_by_label("Clear", exact=True).click()
        page.locator("#upload").get_by_text("Drop File Here").wait_for()
    assert refused == []
    # Letter by letter where a message or a note quotes it, and where a file is called so.
    for kind in ("npz: another channel", "npz: a wrong unit", "csv: a value", "wfdb: another channel"):
        assert '<form action="http://127.0.0.1:9/f"><input name=password>' in seen[kind], seen[kind]
    assert f"{SHORT} another channel.npz" in seen["npz: another channel"]


def test_what_a_visitor_types_is_only_text(visit, tmp_path):
    page = visit()
    before = page.evaluate(ELEMENTS)
    with h5py.File(tmp_path / "ecg.hdf5", "w") as file:
        file["exam_id"], file["tracings"] = [7], np.zeros((1, 4096, 12), np.float32)
    upload(page, [tmp_path / "ecg.hdf5"])
    trouble_of(page)
    assert shown_fields(page) == ["exam"]
    page.locator("#exam").get_by_role("textbox").fill("<form><input name=password>")
    page.locator("#analyse").click()
    page.locator("#trouble").get_by_text("<form>").wait_for()
    page.get_by_role("button", name=EXAMPLES[1].title).click()
    shown_scores(page)
    page.locator("#words textarea").fill(f"{HOSTILE[:190]}\n{HOSTILE[:190]}")
    page.locator("#compare").click()
    page.get_by_text("the phrases must differ").first.wait_for()
    page.locator("#words textarea").fill(f"{HOSTILE[:190]}\nQRS")
    page.locator("#compare").click()
    page.locator("#comparison").get_by_text("<form action=").wait_for()
    page.locator("#words textarea").fill(f"{HOSTILE[:190]}\n{HOSTILE[:190]}")
    page.get_by_role("button", name=EXAMPLES[2].title).click()
    page.locator("#comparison").get_by_text("the phrases must differ").wait_for()
    assert page.evaluate(ELEMENTS) == before


def test_what_models_and_reports_say_is_only_text(browser, analyser, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    labels = (Label(f"{SHORT}{HOSTILE}", HOSTILE), Label("AF"))
    hostile = Analyser.load(str(write_classifier(tmp_path / "cls", labels, thresholds=(0.0, 1.0))))
    reports = replace(analyser.reports, reports=[HOSTILE] * len(analyser.reports.reports), source=HOSTILE)
    hostile = replace(hostile, zero_shot=analyser.zero_shot, reports=reports)
    served, url, _ = app.launch(hostile, "127.0.0.1", origin=HOSTILE)
    requests = []
    try:
        page = browser.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(url)
        page.locator("#analyse").wait_for()
        before = page.evaluate(ELEMENTS)
        page.get_by_role("button", name=EXAMPLES[2].title).click()
        assert len(shown_scores(page)) == 2
        marked(page, labels[0].name)
        page.get_by_role("tab", name="Nearest reports").click()
        page.locator("#nearest").get_by_text("<form action=").first.wait_for()
        assert page.evaluate(ELEMENTS) == before
        assert [one for one in requests if not one.startswith((url, "data:", "blob:"))] == []
        # Were it HTML, the page's policy would still keep it from fetching or sending anything.
        blocked = page.evaluate(
            """html => new Promise(resolve => {
                const found = new Set();
                const expected = ["img-src", "form-action", "connect-src", "frame-src", "script-src-attr"];
                document.addEventListener("securitypolicyviolation", event => {
                    found.add(event.effectiveDirective);
                    if (expected.every(one => found.has(one))) resolve(true);
                });
                document.body.insertAdjacentHTML("beforeend", html);
                fetch("http://127.0.0.1:9/fetched").catch(() => 0);
                document.forms[0].submit();
                setTimeout(() => resolve([...found]), 5000);
            })""",
            HOSTILE,
        )
        assert blocked is True
        assert page.evaluate("window.hit") is None
    finally:
        served.get_blocks().close(verbose=False)


def test_large_file_is_refused(visit, tmp_path):
    large = tmp_path / "large.npy"
    with large.open("wb") as file:
        file.truncate((MAX_FILE_MB + 1) * 2**20)
    page = visit()
    page.locator("#upload input[type=file]").set_input_files(str(large))
    assert re.search(r"size", error_of(page), re.IGNORECASE)


def part_of(page, title):
    """Opens a part of the page."""
    page.get_by_role("tab", name=title).click()


def choose(page, box, paths):
    """Chooses files, or a folder, and waits until they are on the server."""
    page.locator(f"#{box} input[type=file]").set_input_files(paths)
    page.locator(f"#{box}").get_by_role("button", name="Clear").first.wait_for()


def test_the_last_result_is_compared_with_an_earlier_ecg(visit, analyser, browser):
    page = visit(browser.new_context(**PHONE))
    page.get_by_role("button", name=EXAMPLES[2].title).tap()
    new = shown_scores(page)
    part_of(page, "Compare two")
    choose(page, "earlier", EXAMPLES[0].paths)
    page.locator("#compare-two").tap()
    rows = page.locator("#changes tr[data-change]")
    rows.first.wait_for()
    assert page.locator("#comparison-of-two path[data-lead]").count() == 2 * 13
    assert page.locator("#beats .ec-beat").count() == 12
    earlier = {one["label"]: one["score"] for one in analyser.classifier(str(EXAMPLES[0].paths[0]))}
    for label, score in new.items():
        cells = page.locator(f"#changes tr[data-change='{label}'] .ec-number").all_inner_texts()
        assert cells[:2] == [f"{100 * earlier[label]:.1f} %", f"{100 * score:.1f} %"]
    assert page.locator("#changes tr[data-change=heart_rate_bpm]").inner_text().startswith("Heart rate")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["viewport"]["width"]
    page.locator("#compare-two").tap()
    assert "found no earlier one" in error_of(page)


def test_many_are_read_into_a_table(visit, server, models, tmp_path):
    files = {f"w/{name}": (FOLDER / name).read_bytes() for name in EXAMPLES[0].files + EXAMPLES[1].files}
    with zipfile.ZipFile(tmp_path / "ward.zip", "w") as archive:
        for name, content in {**files, "w/broken.npy": b"no array", f"w/{SHORT.replace('<', '')}.npz": b"x"}.items():
            archive.writestr(name, content)
    (tmp_path / f"{SHORT}.csv").write_text("no ECG")
    page = visit()
    before = page.evaluate(ELEMENTS)
    part_of(page, "Many")
    choose(page, "many-files", [tmp_path / "ward.zip", tmp_path / f"{SHORT}.csv"])
    page.locator("#read-many").click()
    page.locator("#progress").get_by_text("2 read, 3 refused").wait_for()
    sync_api.expect(page.locator("#progress")).not_to_contain_text("to go")
    sync_api.expect(page.locator("#many tbody tr")).to_have_count(5)
    assert page.evaluate(ELEMENTS) == before  # a file's name is text
    with page.expect_download() as download:
        page.locator("#csv").click()
    assert download.value.suggested_filename == "ecgclip.csv"
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        lines = {Path(line["file"]).name: line for line in csv.DictReader(file)}
    classify = pipeline("ecg-classification", model=str(models[0]), pipeline_class=EcgClassificationPipeline)
    for example in EXAMPLES[:2]:
        expected = {one["label"]: one["score"] for one in classify(str(example.paths[0]))}
        assert {label: float(lines[example.files[0]][label]) for label in expected} == expected
    assert lines["broken.npy"]["reason"].startswith("not a numeric numpy file")
    for order in (1, -1):
        page.get_by_role("button", name="Heart rate").click()
        rates = page.locator("#many tbody tr.ec-read td:nth-child(3)").all_inner_texts()
        assert [float(one) for one in rates] == sorted(map(float, rates), reverse=order < 0)
        assert page.locator("#many tbody tr").last.get_attribute("class") == "ec-refused"
    assert list(server[2].rglob("*.zip")) == []


def test_a_folder_is_read_and_a_hostile_archive_is_not(visit, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in EXAMPLES[0].paths:
        shutil.copy(path, folder)
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("../../ecg.npz", b"x")
    page = visit()
    part_of(page, "Many")
    choose(page, "many-folder", folder)
    page.locator("#read-many").click()
    page.locator("#progress").get_by_text("1 ECG in 2 files: 1 read, 0 refused").wait_for()
    assert page.locator("#many tbody th").inner_text() == "simulated_normal.hea"
    choose(page, "many-files", [tmp_path / "out.zip"])
    page.locator("#read-many").click()
    assert "out.zip: expected a zip archive whose paths stay in it" in error_of(page)


def page_of(analyser):
    """What the browser is told of a page, as JSON."""
    storage = Storage(Path("unused"), 1, 1, 1, 1, max_files=1, keep_s=1)
    blocks = app.build_page(app.Page(analyser, storage, Shelf(1, 1, 1), Turns()))
    return json.dumps(blocks.get_config_file(), default=str)


def test_page_without_dual_encoder_says_so(models):
    assert page_of(Analyser.load(str(models[0]))).count("runs without a dual encoder") == 2
    assert "runs without a dual encoder" not in page_of(Analyser.load(*map(str, models)))


def test_what_goes_wrong_becomes_one_message(caplog):
    told = app.message(ValueError("<b>.csv: row 3"))
    assert told.message == "&lt;b&gt;.csv: row 3"
    assert not told.print_exception
    try:
        raise KeyError("patient 4711")
    except KeyError as error:
        told = app.message(error)
    assert "4711" not in told.message and "log says where it failed" in told.message
    assert "KeyError in test_what_goes_wrong" in caplog.text and "4711" not in caplog.text


class TestCommandLine:
    def test_without_a_model_it_serves_the_default_and_its_dual_encoder(self, monkeypatch):
        for name in ("ECGCLIP_MODEL", "ECGCLIP_CLIP_MODEL"):
            monkeypatch.delenv(name, raising=False)
        served = []
        monkeypatch.setattr(app, "launch", lambda *arguments: served.extend(arguments) or [MagicMock()] * 3)
        assert app.main([]) == 0
        assert len(served[0].labels) == 6 and served[0].zero_shot is not None
        assert "simulated ECGs alone" in served[3]

    def test_without_a_folder_it_says_what_to_do(self, capsys):
        assert app.main(["--model_name_or_path", "build/none/hub/cls-from-clip"]) == 2
        message = capsys.readouterr().err
        assert "build/none/hub/cls-from-clip: no such folder" in message
        assert "make app" in message

    def test_what_keeps_it_from_being_served_is_one_line(self, models, capsys, monkeypatch):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            arguments = ("--model_name_or_path", str(models[0]), "--host", "127.0.0.1", "--port", str(port))
            assert app.main(arguments) == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith("error: the page could not be served (Cannot find empty port")
        localhost = "When localhost is not accessible, a shareable link must be created. Please set share=True"
        monkeypatch.setattr(app, "launch", MagicMock(side_effect=ValueError(localhost)))
        assert app.main(arguments) == 2
        message = capsys.readouterr().err
        assert "NO_PROXY" in message and "share=True" not in message and "Traceback" not in message

    def test_models_from_the_environment(self, monkeypatch):
        monkeypatch.setenv("ECGCLIP_MODEL", "someone/cls")
        monkeypatch.setenv("ECGCLIP_CLIP_MODEL", "someone/clip")
        args = app.parse_arguments([])
        assert (args.model_name_or_path, args.clip_model_name_or_path, args.report_index) == (
            "someone/cls",
            "someone/clip",
            None,
        )
        assert app.parse_arguments(["--model_name_or_path", "x"]).model_name_or_path == "x"

    def test_help_teaches(self, capsys):
        with pytest.raises(SystemExit):
            app.parse_arguments(["--help"])
        text = capsys.readouterr().out
        for word in ("make app", "ECGCLIP_MODEL", "--clip_model_name_or_path", "--report_index", "--port"):
            assert word in text
