import numpy as np
import pytest

from modeling_ecgclip import LEAD_NAMES
from modeling_ecgclip.stated_ecgclip import ImplausibleEcgError
from space.uploads import Form, read_upload


NOTHING_STATED = Form()
asking = pytest.importorskip(
    "space.asking", reason="the page needs gradio: pip install -e '.[app]'", exc_type=ImportError
)


def refused(analyser, path, form=NOTHING_STATED):
    with pytest.raises(ValueError) as caught:
        analyser.analyse(*read_upload([path], form))
    return caught.value


@pytest.fixture
def ask():
    import gradio as gr

    with gr.Blocks():
        return asking.Asking()


def test_what_a_file_lacks_is_asked_for(analyser, files, signal, tmp_path):
    assert asking.fields_for(refused(analyser, files["npy"])) == ("sampling_rate", "unit", "lead_names")
    assert asking.fields_for(refused(analyser, files["csv"])) == ("sampling_rate", "unit")
    assert asking.fields_for(refused(analyser, files["csv"], Form(sampling_rate=400))) == ("unit",)
    assert asking.fields_for(refused(analyser, files["hdf5"])) == ("exam_id",)
    assert asking.fields_for(refused(analyser, files["hdf5"], Form(exam_id="9"))) == ()
    known = {"sampling_rate": 400.0, "unit": "mV"}
    np.savez(tmp_path / "few.npz", ecg=signal[:6], lead_names=LEAD_NAMES[:6], **known)
    assert asking.fields_for(refused(analyser, tmp_path / "few.npz")) == ("allow_missing_leads",)
    gap = signal.copy()
    gap[3, 100:110] = np.nan
    np.savez(tmp_path / "gap.npz", ecg=gap, lead_names=LEAD_NAMES, **known)
    assert asking.fields_for(refused(analyser, tmp_path / "gap.npz")) == ("repair_nan",)
    np.savez(tmp_path / "swapped.npz", ecg=signal[[1, 0, *range(2, 12)]], **known)
    error = refused(analyser, tmp_path / "swapped.npz")
    assert isinstance(error, ImplausibleEcgError)
    assert asking.fields_for(error) == ("lead_names",)


def test_the_message_is_text_for_people(ask):
    shown = ask.failed(ValueError("<b>.csv: missing V1. allow_missing_leads=True puts zeros there"))
    assert "&lt;b&gt;.csv: missing V1.</p>" in shown[ask.message].value
    assert shown[ask.group].visible and shown[ask.fields["allow_missing_leads"]].visible
    assert len(shown) == 3
    shown = ask.failed(ValueError("ecg.npy: not an array"))
    assert list(shown) == [ask.message] and "ecg.npy: not an array" in shown[ask.message].value


def test_what_was_said_of_one_upload_is_forgotten_with_it(ask):
    forgotten = ask.forgotten()
    assert set(forgotten) == set(ask.outputs)
    assert not any(one.visible for one in forgotten.values())
    values = Form(*(forgotten[field].value or None for field in ask.inputs))
    assert Form(values.sampling_rate, values.unit, values.lead_names, values.exam_id) == Form()
    assert len(ask.done(["shown"])) == 1 + len(ask.outputs)
