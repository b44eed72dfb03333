import numpy as np
import pytest
import torch

from modeling_ecgclip import (
    LABEL_NAMES,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    EcgResNetModel,
    save_for_hub,
)
from modeling_ecgclip.labels_ecgclip import CODE_LABELS, Label, labels_of
from modeling_ecgclip.signal_ecgclip import SignalSpec
from training.arguments import EncoderArguments
from training.encoder import encoder_config, load_classifier, load_feature_extractor
from training.targets import MultiClass, MultiLabel, Regression


def saved(folder, labels, **fields):
    config = EcgResNetConfig.from_preset("tiny", id2label=dict(enumerate(labels)), **fields)
    model = EcgResNetForSignalClassification(config)
    torch.nn.init.constant_(model.classifier.bias, 3.0)  # a head that has learnt something
    save_for_hub(model, folder, EcgFeatureExtractor())
    return model


def classifier_of(folder, targets=None):
    args = EncoderArguments(model_name_or_path=str(folder))
    return load_classifier(args, encoder_config(args, SignalSpec()), targets or MultiLabel(CODE_LABELS))


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


def test_head_of_another_kind_is_not_taken_for_ours(tmp_path):
    trained = saved(tmp_path / "other", LABEL_NAMES)
    model = classifier_of(tmp_path / "other", MultiClass(CODE_LABELS))
    assert model.config.problem_type == "single_label_classification"
    assert not torch.equal(model.classifier.weight, trained.classifier.weight) and model.classifier.bias.eq(0).all()


def test_labels_of_the_table_become_those_of_the_model(tmp_path):
    saved(tmp_path / "other", LABEL_NAMES, thresholds=[0.3] * 6)
    model = classifier_of(tmp_path / "other", MultiLabel([Label("NORM", "normal ECG", "ritmo sinusal"), Label("MI")]))
    assert model.config.id2label == {0: "NORM", 1: "MI"} and model.config.label2id == {"NORM": 0, "MI": 1}
    assert model.config.thresholds is None and model.classifier.out_features == 2
    assert labels_of(model.config)[0] == Label("NORM", "normal ECG", "ritmo sinusal")


def regression():
    targets = Regression([Label("age")])
    targets.learn_from(np.array([[40.0], [50.0], [np.nan], [75.0]], dtype=np.float32), allow_one_sided=False)
    return targets


def test_head_for_the_same_numbers_is_kept_in_the_units_of_the_loss(tmp_path):
    trained = saved(tmp_path / "age", ["age"], problem_type="regression")
    targets = regression()
    head = classifier_of(tmp_path / "age", targets).classifier
    features = torch.randn(5, head.in_features)
    expected = trained.classifier(features)
    torch.testing.assert_close(head(features), (expected - 55) / np.std([40.0, 50, 75]), rtol=1e-5, atol=1e-5)
    targets.finish(head)
    torch.testing.assert_close(head(features), expected, rtol=1e-5, atol=1e-5)


def test_a_new_head_for_numbers_starts_at_their_mean(tmp_path):
    targets = regression()
    config = EcgResNetConfig.from_preset("tiny", id2label={0: "age"}, problem_type="regression")
    save_for_hub(EcgResNetModel(config), tmp_path / "tower", EcgFeatureExtractor())  # a tower alone has no head
    head = classifier_of(tmp_path / "tower", targets).classifier
    assert head.bias.eq(0).all()
    targets.finish(head)
    assert head.bias.tolist() == [55.0]


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
