import pytest
from huggingface_hub.errors import StrictDataclassFieldValidationError
from transformers import PreTrainedConfig

from modeling_ecgclip.configuration_ecgclip import LABEL_NAMES, PRESETS, EcgClipConfig, EcgResNetConfig


@pytest.mark.parametrize("preset", PRESETS)
def test_config_survives_saving(preset, tmp_path):
    config = EcgResNetConfig.from_preset(preset, thresholds=(0.1,) * 6)
    config.save_pretrained(tmp_path)
    assert EcgResNetConfig.from_pretrained(tmp_path).to_diff_dict() == config.to_diff_dict()
    assert EcgResNetConfig.from_pretrained(tmp_path).id2label == dict(enumerate(LABEL_NAMES))


def test_other_labels_keep_both_directions(tmp_path):
    config = EcgResNetConfig(id2label={0: "age"}, problem_type="regression")
    config.save_pretrained(tmp_path)
    loaded = EcgResNetConfig.from_pretrained(tmp_path)
    assert (loaded.id2label, loaded.label2id, loaded.num_labels) == ({0: "age"}, {"age": 0}, 1)


def test_no_undeclared_key():
    own = set(EcgResNetConfig.__dataclass_fields__) | {"model_type", "label2id"}
    assert set(EcgResNetConfig().to_dict()) - set(PreTrainedConfig().to_dict()) <= own


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_samples": 4000}, "divisible by the product of all strides"),
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
