import torch

from modeling_ecgclip import (
    LABEL_NAMES,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    save_for_hub,
)
from training.arguments import EncoderArguments
from training.encoder import load_classifier


def saved(folder, labels):
    config = EcgResNetConfig.from_preset("tiny", id2label=dict(enumerate(labels)))
    model = EcgResNetForSignalClassification(config)
    torch.nn.init.constant_(model.classifier.bias, 3.0)  # a head that has learnt something
    save_for_hub(model, folder, EcgFeatureExtractor())
    return model


def test_head_for_the_same_labels_is_kept(tmp_path):
    trained = saved(tmp_path / "same", LABEL_NAMES)
    model = load_classifier(EncoderArguments(model_name_or_path=str(tmp_path / "same")))
    assert torch.equal(model.classifier.weight, trained.classifier.weight) and model.classifier.bias.eq(3).all()


def test_head_for_as_many_other_labels_is_not_taken_for_ours(tmp_path):
    trained = saved(tmp_path / "other", ["MI", "LVH", "PVC", "WPW", "LQT", "PAC"])
    model = load_classifier(EncoderArguments(model_name_or_path=str(tmp_path / "other")))
    assert tuple(model.config.id2label.values()) == LABEL_NAMES
    assert not torch.equal(model.classifier.weight, trained.classifier.weight) and model.classifier.bias.eq(0).all()
    kept = model.ecg_model.stem.layers[0].weight
    assert torch.equal(kept, trained.ecg_model.stem.layers[0].weight)
