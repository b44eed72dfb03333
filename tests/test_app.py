"""The page, end to end in a browser, and its command line."""

import json
import re
import shutil
import socket
import zipfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import h5py
import numpy as np
import pytest
from transformers import pipeline

from modeling_ecgclip import LEAD_NAMES, EcgClassificationPipeline, Label
from space.analysis import Analyser
from space.example_list import EXAMPLES
from space.shelf import Shelf
from space.storage import Storage
from space.turns import Turns
from space.uploads import MAX_FILE_MB
from tests.browser import PHONE, chromium, sync_api
from tests.hostile_files import HOSTILE, SHORT, hostile_files
from tests.page_driver import (
    WAIT_MS,
    app,
    choose,
    choose_unit,
    no_field_is_shown,
    opened,
    part_of,
    served,
    shown_fields,
    shown_scores,
    trouble_of,
    upload,
)
from tests.space_models import MANY, write_classifier, write_models


# What hostile text would become, were it HTML.
ELEMENTS = (
    '() => [...document.querySelectorAll(\'form, iframe, object, embed, script, img, a[href*="//127.0.0.1:9"],'
    " [onload], [onerror], input[name=password]')].map(one => one.outerHTML.slice(0, 200)).concat(String(window.hit))"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory, text_model, exam_table):
    return write_models(tmp_path_factory.mktemp("app-models"), text_model, exam_table)


@pytest.fixture(scope="module")
def analyser(models):
    return Analyser.load(*map(str, models))


@pytest.fixture(scope="module")
def server(analyser, tmp_path_factory):
    """Address of the running page."""
    with served(analyser, tmp_path_factory.mktemp("gradio")) as url:
        yield url


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
    with ExitStack() as pages:
        yield lambda: pages.enter_context(opened(desktop, server))


def marked(page, label):
    """The tracing, once what drove a label is marked on it."""
    drawing = page.locator("#paper ecg-tracing")
    said = re.compile(f"marked where it drove {re.escape(label)}")
    sync_api.expect(drawing).to_have_attribute("aria-label", said, timeout=WAIT_MS)
    drawing.locator(".shade").first.wait_for(state="attached")
    return drawing


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


def test_form_states_what_the_file_does_not(visit, tmp_path, models):
    ecg = np.load(EXAMPLES[2].paths[0])["ecg"]
    np.savetxt(tmp_path / "ecg.csv", ecg.T, delimiter=",", fmt="%.6f")
    page = visit()
    upload(page, [tmp_path / "ecg.csv"])
    assert "ecg.csv: the file does not state its sampling rate and its unit" in trouble_of(page)
    assert shown_fields(page) == ["rate", "unit", "leads"]
    sync_api.expect(page.locator("#rate input")).to_be_focused()
    page.keyboard.type("400")
    choose_unit(page, "mV")
    page.locator("#analyse").click()
    classify = pipeline("ecg-classification", model=str(models[0]), pipeline_class=EcgClassificationPipeline)
    results = classify(str(tmp_path / "ecg.csv"), sampling_rate=400, unit="mV")
    assert shown_scores(page) == pytest.approx({one["label"]: one["score"] for one in results}, abs=1e-8)
    assert page.get_by_text("The leads are not named: taken to be I, II, III").is_visible()
    no_field_is_shown(page)
    np.savez(tmp_path / "few.npz", ecg=ecg[:6], sampling_rate=400.0, unit="mV", lead_names=LEAD_NAMES[:6])
    upload(page, [tmp_path / "few.npz"])
    assert trouble_of(page).endswith("missing V1, V2, V3, V4, V5, V6.")
    assert shown_fields(page) == ["missing"]
    page.locator("#missing input").click()
    page.locator("#analyse").click()
    page.get_by_role("heading", name="few.npz").wait_for()


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


def test_many_labels_do_not_break_the_page(browser, tmp_path):
    analyser = Analyser.load(str(write_classifier(tmp_path / "many", MANY, thresholds=(0.999,) * len(MANY))))
    with served(analyser, tmp_path / "gradio") as url, opened(browser.new_context(**PHONE), url) as page:
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


def test_what_models_and_reports_say_is_only_text(browser, analyser, tmp_path):
    labels = (Label(f"{SHORT}{HOSTILE}", HOSTILE), Label("AF"))
    hostile = Analyser.load(str(write_classifier(tmp_path / "cls", labels, thresholds=(0.0, 1.0))))
    reports = replace(analyser.reports, reports=[HOSTILE] * len(analyser.reports.reports), source=HOSTILE)
    hostile = replace(hostile, zero_shot=analyser.zero_shot, reports=reports)
    requests = []
    # What it blocks in the end has left for elsewhere, so that the page is opened here.
    with served(hostile, tmp_path / "gradio", origin=HOSTILE) as url:
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


def test_large_file_is_refused(visit, tmp_path):
    large = tmp_path / "large.npy"
    with large.open("wb") as file:
        file.truncate((MAX_FILE_MB + 1) * 2**20)
    page = visit()
    page.locator("#upload input[type=file]").set_input_files(str(large))
    assert re.search(r"size", error_of(page), re.IGNORECASE)


def test_a_folder_is_read_and_a_hostile_archive_is_not(visit, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in EXAMPLES[0].paths:
        shutil.copy(path, folder)
    (folder / f"{SHORT}.csv").write_text("no ECG")
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("../../ecg.npz", b"x")
    page = visit()
    before = page.evaluate(ELEMENTS)
    part_of(page, "Many")
    choose(page, "many-folder", folder)
    page.locator("#read-many").click()
    page.locator("#progress").get_by_text("2 ECGs in 3 files: 1 read, 1 refused").wait_for()
    names = page.locator("#many tbody th")
    assert names.all_inner_texts() == [f"{SHORT}.csv", "simulated_normal.hea"]
    assert page.evaluate(ELEMENTS) == before  # a file's name is text
    choose(page, "many-files", [tmp_path / "out.zip"])
    page.locator("#read-many").click()
    refused = trouble_of(page, "many")
    assert "out.zip: expected a zip archive whose paths stay in it" in refused
    assert names.count() == 2  # what was read before stays


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
