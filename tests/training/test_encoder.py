import pytest
import torch

from modeling_ecgclip import (
    LABEL_NAMES,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    save_for_hub,
)
from modeling_ecgclip.signal_ecgclip import SignalSpec
from training.arguments import EncoderArguments
from training.encoder import encoder_config, load_classifier, load_feature_extractor


def saved(folder, labels):
    config = EcgResNetConfig.from_preset("tiny", id2label=dict(enumerate(labels)))
    model = EcgResNetForSignalClassification(config)
    torch.nn.init.constant_(model.classifier.bias, 3.0)  # a head that has learnt something
    save_for_hub(model, folder, EcgFeatureExtractor())
    return model


def classifier_of(folder):
    args = EncoderArguments(model_name_or_path=str(folder))
    return load_classifier(args, encoder_config(args, SignalSpec()))


def test_head_for_the_same_labels_is_kept(tmp_path):
    trained = saved(tmp_path / "same", LABEL_NAMES)
    model = classifier_of(tmp_path / "same")
    assert torch.equal(model.classifier.weight, trained.classifier.weight) and model.classifier.bias.eq(3).all()


def test_head_for_as_many_other_labels_is_not_taken_for_ours(tmp_path):
    trained = saved(tmp_path / "other", ["MI", "LVH", "PVC", "WPW", "LQT", "PAC"])
    model = classifier_of(tmp_path / "other")
    assert tuple(model.config.id2label.values()) == LABEL_NAMES
    assert not torch.equal(model.classifier.weight, trained.classifier.weight) and model.classifier.bias.eq(0).all()
    kept = model.ecg_model.stem.layers[0].weight
    assert torch.equal(kept, trained.ecg_model.stem.layers[0].weight)


def test_random_weights_take_the_signal_of_the_table():
    signal = SignalSpec(("I", "II"), 500, 5000)
    args = EncoderArguments(encoder_preset="fernandes2024", dropout=0.5)
    config = encoder_config(args, signal)
    assert config.signal == signal and config.input_samples == 5120 and config.dropout == 0.5
    extractor = load_feature_extractor(args, config)
    assert extractor.signal == signal and extractor.input_samples == 5120


def test_a_model_of_another_signal_is_refused_in_one_line(tmp_path):
    saved(tmp_path / "model", LABEL_NAMES)
    args = EncoderArguments(model_name_or_path=str(tmp_path / "model"))
    message = "the exam table has 12 leads .* 5000 samples at 500 Hz; found .*model with .* 4096 samples at 400 Hz"
    with pytest.raises(ValueError, match=message) as error:
        encoder_config(args, SignalSpec(sampling_rate=500, n_samples=5000))
    assert "\n" not in str(error.value)


def test_preprocessing_for_another_signal_is_refused_in_one_line(tmp_path):
    saved(tmp_path / "model", LABEL_NAMES)
    EcgFeatureExtractor(sampling_rate=250).save_pretrained(tmp_path / "model")
    args = EncoderArguments(model_name_or_path=str(tmp_path / "model"))
    with pytest.raises(ValueError, match="the model has .* at 400 Hz; found the feature extractor with .* at 250 Hz"):
        load_feature_extractor(args, encoder_config(args, SignalSpec()))
