"""Export of other towers and windows; `test_export.py` has all formats and precisions of one."""

import pytest
import torch
from transformers import AutoModelForAudioClassification


for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f'{package} is not installed: pip install "ecgclip[export]"')

from modeling_ecgclip import EcgFeatureExtractor, encoder_config, save_for_hub  # noqa: E402
from modeling_ecgclip.exported_ecgclip import ExportedEcgClassifier  # noqa: E402
from modeling_ecgclip.towers_ecgclip import classifier_class  # noqa: E402
from publishing.export import ExportArguments, export  # noqa: E402


SHORT = {"n_samples": 999, "sampling_rate": 100}  # odd: pooled windows of two leave one over, strides need padding


@pytest.mark.parametrize(
    ("preset", "fields", "form", "precision"),
    [
        ("xresnet1d_tiny", SHORT, "onnx", "float32"),
        ("xresnet1d_tiny", {**SHORT, "pooled_stages": 2, "normalize_pooled": True}, "onnx", "float32"),
        ("xresnet1d_tiny", {}, "openvino", "int8"),
        ("tiny", SHORT, "onnx", "float32"),
    ],
)
def test_export_is_near_the_original(preset, fields, form, precision, exam_table, tmp_path):
    torch.manual_seed(0)
    config = encoder_config(preset, **fields)
    model = classifier_class(config)(config).eval()
    save_for_hub(model, tmp_path / "cls", EcgFeatureExtractor.for_model(config))
    table = str(exam_table) if precision == "int8" else None
    folders = (str(tmp_path / "cls"), str(tmp_path / "out"))
    export(ExportArguments(*folders, form, precision, table, min_equal_decisions=0.5))
    exported = AutoModelForAudioClassification.from_pretrained(tmp_path / "out")
    assert type(exported) is ExportedEcgClassifier
    ecgs = torch.randn(2, 12, config.input_samples) * 0.3
    with torch.inference_mode():
        expected = model(ecgs).logits.sigmoid()
        found = exported(ecgs).logits.sigmoid()
    torch.testing.assert_close(found, expected, atol=1e-4 if precision == "float32" else 0.1, rtol=0)
