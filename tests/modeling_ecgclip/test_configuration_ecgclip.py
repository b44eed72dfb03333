import json

import pytest
from huggingface_hub.errors import StrictDataclassFieldValidationError
from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import logging

from modeling_ecgclip import SignalSpec
from modeling_ecgclip.clip_ecgclip import EcgClipConfig
from modeling_ecgclip.configuration_ecgclip import EcgResNetConfig
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.towers_ecgclip import PRESETS, TOWERS, encoder_config


@pytest.mark.parametrize("preset", PRESETS)
def test_config_survives_saving(preset, tmp_path):
    config = encoder_config(preset, thresholds=(0.1,) * 6)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is PRESETS[preset]
    assert loaded.to_diff_dict() == config.to_diff_dict()
    assert loaded.id2label == dict(enumerate(LABEL_NAMES))


def test_other_labels_keep_both_directions(tmp_path):
    config = EcgResNetConfig(id2label={0: "age"}, problem_type="regression")
    config.save_pretrained(tmp_path)
    loaded = EcgResNetConfig.from_pretrained(tmp_path)
    assert (loaded.id2label, loaded.label2id, loaded.num_labels) == ({0: "age"}, {"age": 0}, 1)


@pytest.mark.parametrize("tower", TOWERS.values(), ids=TOWERS)
def test_no_undeclared_key(tower):
    own = set(tower.config_class.__dataclass_fields__) | {"model_type", "label2id"}
    assert set(tower.config_class().to_dict()) - set(PreTrainedConfig().to_dict()) <= own


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_samples": 4100}, "divisible by the product of all strides"),
        ({"kernel_size": 16}, "even kernel_size"),
        ({"kernel_size": 3}, "stride of 4 skips samples"),
        ({"block_strides": (4, 4)}, "one entry for each block"),
        ({"block_channels": (), "block_strides": ()}, "at least one"),
        ({"block_channels": (0, 1, 1, 1)}, "block_channels must be at least 1"),
        ({"dropout": 1.0}, "dropout must lie in"),
        ({"thresholds": (0.5,)}, "one value for each of 6 labels: found 1"),
        ({"lead_names": ("I", "I")}, "distinct"),
    ],
)
def test_impossible_shapes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        EcgResNetConfig(**fields)


def test_wrong_types_are_refused():
    with pytest.raises(StrictDataclassFieldValidationError, match="kernel_size"):
        EcgResNetConfig(kernel_size="17")


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="fernandes2024"):
        EcgResNetConfig.from_preset("resnet50")
    with pytest.raises(ValueError, match="fernandes2024.*xresnet1d50"):
        encoder_config("resnet50")


def test_clip_config_takes_the_text_width_and_survives_saving(clip_config, tmp_path):
    assert clip_config.projection_dim == 32
    clip_config.save_pretrained(tmp_path)
    loaded = EcgClipConfig.from_pretrained(tmp_path)
    assert loaded.ecg_config.hidden_size == clip_config.ecg_config.hidden_size
    assert loaded.text_config.model_type == "bert"
    assert loaded.to_diff_dict() == clip_config.to_diff_dict()


def test_identity_text_projection_needs_the_text_width():
    with pytest.raises(ValueError, match="width of the text tower"):
        EcgClipConfig(
            text_config={"model_type": "bert", "hidden_size": 32, "num_attention_heads": 2}, projection_dim=16
        )


def test_a_window_that_the_strides_do_not_divide_is_stated_beside_the_padded_length(tmp_path):
    config = EcgResNetConfig(n_samples=5000, sampling_rate=500)
    assert (config.n_samples, config.input_samples, config.final_samples) == (5000, 5120, 5)
    config.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["input_samples"] == 5120
    assert EcgResNetConfig.from_pretrained(tmp_path).signal == SignalSpec(sampling_rate=500, n_samples=5000)


@pytest.mark.parametrize("change", [{"num_labels": 3}, {"id2label": {0: "NORM", 1: "MI"}}])
def test_thresholds_of_other_labels_are_dropped(change, tmp_path, caplog):
    EcgResNetConfig(thresholds=(0.1,) * 6).save_pretrained(tmp_path)
    logging.get_logger("transformers").addHandler(caplog.handler)
    loaded = EcgResNetConfig.from_pretrained(tmp_path, **change)
    assert loaded.thresholds is None
    assert "thresholds were chosen for the labels" in caplog.text
    assert loaded.label2id == {label: i for i, label in loaded.id2label.items()}
    assert tuple(EcgResNetConfig.from_pretrained(tmp_path).thresholds) == (0.1,) * 6


def test_what_belongs_to_labels_has_a_value_for_each_and_goes_with_them(tmp_path):
    stated = {
        "thresholds": [0.1, 0.2],
        "threshold_prevalence": [0.3, None],
        "calibration": {"scale": [1.0, 0.5], "shift": [0.0, -1.0]},
        "abstention": {"error": 0.1, "low": [0.1, None], "high": [0.2, None]},
    }
    EcgResNetConfig(id2label={0: "NORM", 1: "MI"}, **stated).save_pretrained(tmp_path)
    config = EcgResNetConfig.from_pretrained(tmp_path)
    assert {name: getattr(config, name) for name in stated} == stated
    config.id2label = {0: "MI", 1: "NORM"}
    assert [getattr(config, name) for name in stated] == [None] * 4
    for name, parts in (("calibration", ("scale", "shift")), ("abstention", ("low", "high"))):
        with pytest.raises(ValueError, match=rf"{name}.{parts[1]} needs one value for each of 2 labels: found 0"):
            EcgResNetConfig(num_labels=2, **{name: {parts[0]: [1.0, 1.0]}})
    with pytest.raises(ValueError, match="calibration is for labels side by side"):
        EcgResNetConfig(num_labels=2, problem_type="single_label_classification", calibration=stated["calibration"])


def test_clip_config_holds_any_tower():
    tower = {"model_type": "vit", "hidden_size": 24, "num_attention_heads": 2}
    config = EcgClipConfig(ecg_config=tower, text_config={"model_type": "bert", "hidden_size": 32})
    assert (config.ecg_config.model_type, config.ecg_config.hidden_size) == ("vit", 24)
