import io
import json
from dataclasses import replace

import pytest
from PIL import Image

from modeling_ecgclip import EcgRecord
from space.report import build_json, build_pdf, draw_png, file_name, plain_text


@pytest.fixture(scope="module")
def analysis(analyser, signal):
    return analyser.analyse(EcgRecord(signal, 400.0, None, "mV", "ecg $a$ [1].npy"))


def pixels(png):
    return Image.open(io.BytesIO(png)).convert("RGB")


def count(image, colour):
    return sum(
        n for n, value in image.getcolors(2**24) if max(abs(a - b) for a, b in zip(value, colour, strict=True)) < 12
    )


def test_png_is_the_print_out(analysis, analyser):
    png, ratio = draw_png(analysis, dpi=60)
    image = pixels(png)
    assert image.size[0] == pytest.approx(270 / 25.4 * 60, abs=1)
    assert image.size[1] / image.size[0] == pytest.approx(ratio, abs=0.005)
    marked = pixels(draw_png(analyser.explain(analysis, "RBBB"), dpi=60)[0])
    assert image.size == marked.size
    assert image.tobytes() != marked.tobytes()


def test_pdf_grows_with_what_is_known(analysis, analyser):
    def pages(pdf):
        return pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ")

    only = replace(analysis, nearest=None)
    assert build_pdf(only).startswith(b"%PDF-")
    assert pages(build_pdf(only)) == 1
    assert pages(build_pdf(analyser.explain(only, "AF"))) == 2
    whole = analyser.compare(analyser.explain(analysis, "AF"), "custa $5\nvale $6 e \\alpha", "Português")
    assert pages(build_pdf(whole)) == 3


def test_json_is_the_analysis(analysis):
    content = json.loads(build_json(analysis))
    assert content["file"] == "ecg $a$ [1].npy"
    assert content["probabilities"] == analysis.probabilities
    assert content["own_words"] is None


def test_file_name(analysis):
    assert file_name(analysis, ".pdf") == "ecg__a___1_ecgclip.pdf"
    assert file_name(replace(analysis, name="..."), ".json") == "ecg_ecgclip.json"
    assert len(file_name(replace(analysis, name="x" * 500 + ".csv"), ".json")) < 80


def test_dollar_signs_are_no_formula():
    assert plain_text("$x$") == r"\$x\$"
