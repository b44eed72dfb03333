"""What users of transformers expect to work: other heads, stock `Trainer`, adapters; saved and loaded again."""

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForAudioClassification,
    Trainer,
    TrainingArguments,
    pipeline,
)
from transformers.utils import logging

from modeling_ecgclip import (
    EcgClipModel,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    encoder_config,
    save_for_hub,
)
from modeling_ecgclip.towers_ecgclip import classifier_class


LABELS = {0: "NORM", 1: "MI", 2: "STTC"}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """Folder of a classifier of CODE's labels with thresholds."""
    folder = tmp_path_factory.mktemp("idioms") / "classifier"
    torch.manual_seed(0)
    config = encoder_config("tiny", thresholds=(0.2,) * 6)
    save_for_hub(EcgResNetForSignalClassification(config), folder, EcgFeatureExtractor())
    return folder


@pytest.fixture(scope="module")
def dual_encoder(tmp_path_factory, text_model):
    folder = tmp_path_factory.mktemp("idioms") / "clip"
    EcgClipModel.from_ecg_text_pretrained(encoder_config("tiny"), str(text_model)).save_pretrained(folder)
    return folder


class Exams(torch.utils.data.Dataset):
    """Noise, loud where the second label is present."""

    def __init__(self, labels):
        noise = np.random.default_rng(0).normal(size=(len(labels), 12, 4096)).astype(np.float32)
        self.labels = labels
        self.input_values = noise * (1 + 3 * (np.asarray(labels).reshape(len(labels), -1)[:, -1:, None] > 0))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return {"input_values": torch.from_numpy(self.input_values[i]), "labels": torch.tensor(self.labels[i])}


@pytest.mark.parametrize("change", [{"num_labels": 3}, {"id2label": LABELS}, {"num_labels": 3, "thresholds": None}])
@pytest.mark.parametrize("remote", [False, True])
def test_a_head_for_other_labels_has_no_thresholds(classifier, change, remote, caplog):
    logging.get_logger("transformers").addHandler(caplog.handler)
    model = AutoModelForAudioClassification.from_pretrained(
        classifier, ignore_mismatched_sizes=True, trust_remote_code=remote, **change
    )
    assert model.classifier.out_features == model.config.num_labels == 3
    assert model.config.thresholds is None
    if "thresholds" not in change:
        assert "thresholds were chosen for the labels 1dAVb" in caplog.text
    if "id2label" in change:
        assert model.config.label2id == {"NORM": 0, "MI": 1, "STTC": 2}


def test_the_folder_of_a_dual_encoder_gives_a_classifier(dual_encoder):
    plain = AutoModelForAudioClassification.from_pretrained(dual_encoder)
    assert type(plain) is EcgResNetForSignalClassification and list(plain.config.id2label.values())[0] == "1dAVb"
    other = AutoModelForAudioClassification.from_pretrained(dual_encoder, num_labels=2)
    assert other.classifier.out_features == 2 and other.config.num_labels == 2
    clip = EcgClipModel.from_pretrained(dual_encoder)
    ecg = torch.randn(2, 12, 4096)
    expected = clip.eval().ecg_model(ecg).pooler_output
    assert torch.equal(other.eval().ecg_model(ecg).pooler_output, expected)


@pytest.mark.parametrize(
    ("problem_type", "id2label", "labels"),
    [
        ("multi_label_classification", LABELS, [[1.0, 0.0, 1.0], [0.0, -100.0, -1.0]] * 8),
        ("single_label_classification", LABELS, [0, 2, -100, 1] * 4),
        ("regression", {0: "age"}, [20.0, 60.0] * 8),
    ],
)
def test_stock_trainer_fine_tunes_and_reloads(classifier, problem_type, id2label, labels, tmp_path):
    model = AutoModelForAudioClassification.from_pretrained(
        classifier, id2label=id2label, problem_type=problem_type, ignore_mismatched_sizes=True
    )
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    arguments = TrainingArguments(
        str(tmp_path / "run"),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        max_steps=3,
        learning_rate=1e-3,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
    )
    exams = Exams(labels)
    trainer = Trainer(model, arguments, train_dataset=exams, eval_dataset=exams)
    trainer.train()
    # What batch normalisations remove has nothing to learn.
    removed = [name for name in before if name.endswith(".bias") and ("conv" in name or "skip" in name)]
    assert [name for name, weight in model.named_parameters() if torch.equal(before[name], weight)] == removed
    assert np.isfinite(trainer.evaluate()["eval_loss"])
    trainer.save_model(str(tmp_path / "saved"))
    EcgFeatureExtractor().save_pretrained(tmp_path / "saved")
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path / "saved").eval()
    assert loaded.config.problem_type == problem_type and loaded.config.id2label == id2label
    values = torch.from_numpy(exams.input_values[:2])
    assert torch.equal(loaded(values).logits, model.eval()(values).logits)
    results = pipeline("ecg-classification", model=str(tmp_path / "saved"), trust_remote_code=True)(
        exams.input_values[0], sampling_rate=400, unit="mV", lead_names=EcgResNetConfig().lead_names
    )
    assert {result["label"] for result in results} == set(id2label.values())
    assert all("positive" not in result for result in results)
    scores = sum(result["score"] for result in results)
    assert problem_type != "single_label_classification" or scores == pytest.approx(1)


def test_trainer_divides_accumulated_losses_by_their_number(classifier):
    # A model that takes further arguments is else believed to normalise by itself, and steps become N times too large.
    assert AutoModelForAudioClassification.from_pretrained(classifier).accepts_loss_kwargs is False


@pytest.mark.parametrize(
    ("preset", "layers"),
    [("tiny", ["conv1", "conv2"]), ("ribeiro2020", ["conv1", "conv2"]), ("xresnet1d_tiny", ["conv"])],
)
def test_lora_fine_tunes_and_reloads(preset, layers, tmp_path):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = encoder_config(preset, id2label=LABELS)
    model = classifier_class(config)(config).eval()
    model.save_pretrained(tmp_path / "base")
    settings = peft.LoraConfig(r=2, target_modules=layers, modules_to_save=["classifier"])
    adapted = peft.get_peft_model(model, settings)
    trained = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert trained and all("lora_" in name or "classifier" in name for name in trained)
    ecg, labels = torch.randn(2, 12, 4096), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0]])
    optimizer = torch.optim.AdamW([weight for weight in adapted.parameters() if weight.requires_grad], lr=1e-4)
    losses = []
    for _ in range(3):
        loss = adapted(input_values=ecg, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    adapted.save_pretrained(tmp_path / "adapter")
    base = type(model).from_pretrained(tmp_path / "base").eval()
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    expected = adapted.eval()(input_values=ecg).logits
    torch.testing.assert_close(loaded(input_values=ecg).logits, expected)
    merged = loaded.merge_and_unload()
    torch.testing.assert_close(merged(ecg).logits, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(merged.for_inference()(ecg).logits, expected, atol=1e-4, rtol=1e-4)


def test_a_regression_with_one_output_takes_one_number_for_each_ecg():
    model = EcgResNetForSignalClassification(encoder_config("tiny", id2label={0: "age"}, problem_type="regression"))
    ecg, ages = torch.randn(4, 12, 4096), torch.tensor([20.0, 50.0, float("nan"), 80.0])
    output = model.eval()(ecg, labels=ages)
    known = ~ages.isnan()
    expected = ((output.logits[:, 0] - ages)[known] ** 2).mean()
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(model(ecg, labels=ages[:, None]).loss, expected)


@pytest.mark.parametrize(
    ("problem_type", "labels", "message"),
    [
        ("multi_label_classification", [[2.0, 0.0, 0.0]], "needs labels from 0 to 1.*found 2"),
        ("multi_label_classification", [[float("nan"), 0.0, 0.0]], "found nan"),
        ("multi_label_classification", [[-2.0, 0.0, 0.0]], "found -2"),
        ("multi_label_classification", [[1.0, 0.0]], r"shape \(1, 3\): found \(1, 2\)"),
        ("single_label_classification", [3], "needs labels from 0 to 2.*found 3"),
        ("single_label_classification", [[1, 0, 0]], r"shape \(1,\): found \(1, 3\)"),
        ("regression", [[1.0, 2.0]], r"shape \(1, 3\)"),
    ],
)
def test_labels_that_no_output_can_have_are_refused(problem_type, labels, message):
    model = EcgResNetForSignalClassification(encoder_config("tiny", id2label=LABELS, problem_type=problem_type))
    with pytest.raises(ValueError, match=message):
        model(torch.randn(1, 12, 4096), labels=torch.tensor(labels))


def test_minus_100_and_minus_1_are_unknown():
    model = EcgResNetForSignalClassification(encoder_config("tiny", id2label=LABELS)).eval()
    ecg = torch.randn(1, 12, 4096)
    first, second, known = (
        model(ecg, labels=torch.tensor([row])).loss for row in ([1.0, -100.0, 0.0], [1.0, -1.0, 0.0], [1.0, 0.0, 0.0])
    )
    assert torch.equal(first, second) and not torch.equal(first, known)
    alone = EcgResNetForSignalClassification(encoder_config("tiny", id2label={0: "AF"})).eval()
    assert alone(torch.cat([ecg, ecg]), labels=torch.tensor([1.0, 0.0])).loss.ndim == 0


def test_a_feature_extractor_of_another_signal_is_refused(classifier, tmp_path):
    model = EcgResNetForSignalClassification.from_pretrained(classifier)
    other = EcgFeatureExtractor(sampling_rate=250, lead_names=list(reversed(model.config.lead_names)))
    with pytest.raises(ValueError, match="the model has 12 leads.*at 400 Hz; found the feature extractor.*at 250 Hz"):
        save_for_hub(model, tmp_path / "other", other)
    assert not (tmp_path / "other").exists()
    model.save_pretrained(tmp_path / "other")
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="expected one signal: the model has"):
        pipeline("ecg-classification", model=str(tmp_path / "other"), trust_remote_code=True)
    padded = EcgResNetForSignalClassification(encoder_config("tiny", n_samples=5000, sampling_rate=500))
    with pytest.raises(ValueError, match="expected 5120 samples for the model's input: found.*5000"):
        save_for_hub(padded, tmp_path / "padded", EcgFeatureExtractor(sampling_rate=500, n_samples=5000))


@pytest.mark.parametrize(
    ("leads", "rate", "n_samples"),
    [(None, 500, 5120), (None, 500, 5000), (None, 200, 2048), (("II",), 500, 5000), (("I", "II", "V1"), 400, 4096)],
)
def test_other_windows_work_from_configuration_to_pipeline(leads, rate, n_samples, tmp_path):
    fields = {"sampling_rate": rate, "n_samples": n_samples} | ({"lead_names": leads} if leads else {})
    config = encoder_config("tiny", **fields)
    model = EcgResNetForSignalClassification(config)
    save_for_hub(model, tmp_path, EcgFeatureExtractor.for_model(config))
    classify = pipeline("ecg-classification", model=str(tmp_path), trust_remote_code=True)
    ecg = np.random.default_rng(0).normal(size=(12, 10 * 400)).astype(np.float32)
    stated = {"sampling_rate": 400, "unit": "mV", "lead_names": EcgResNetConfig().lead_names}
    assert len(classify(ecg, **stated)) == 6
    figure = classify.plot(ecg, **stated)
    assert figure.axes
