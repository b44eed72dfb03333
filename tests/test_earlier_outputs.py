"""Exam tables, finished runs and models of an earlier release keep their meaning; see earlier_outputs/make.py."""

import csv
import json
import shutil
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import transformers
from datasets import DatasetDict
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, AutoProcessor, pipeline
from transformers.dynamic_module_utils import get_class_from_dynamic_module

import train_clip
import train_cls
from data_scripts import publish
from data_scripts.embed_reports import load_text_table
from data_scripts.tables.digest import table_digest
from data_scripts.tables.schema import SPLITS, conversion_record, load_exam_table
from modeling_ecgclip import EcgFeatureExtractor, read_ecg
from publishing.card import is_sealed, write_card
from publishing.run_folder import read_run
from training.evaluation import read_predictions


FOLDER = Path(__file__).resolve().parent / "earlier_outputs"
RELEASES = sorted(path.name.removesuffix(".tar.xz") for path in FOLDER.glob("*.tar.xz"))
TOLERANCE = 1e-5
TABLES = ("exams", "exams_parquet")
CLASSIFIERS = ("classifier", "onnx", "age")
TWO_STEPS = ["--per_device_train_batch_size", "4", "--max_train_steps", "2", "--eval_steps", "2"]
TWO_STEPS += ["--checkpointing_steps", "no"]
FEW = ["--allow_one_sided_labels"]  # among twelve training exams there is no LBBB


@pytest.fixture(scope="module", params=RELEASES)
def release(request):
    return request.param


@pytest.fixture(scope="module")
def outputs(release, tmp_path_factory):
    """The folders as a user of that release has them."""
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(FOLDER / f"{release}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def expected(release):
    """What that release made of them."""
    return json.loads((FOLDER / f"{release}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(outputs):
    """The test split."""
    return list(load_exam_table(outputs / "exams")["test"])


class OurCode:
    """Auto classes and pipelines as they come: those that the project registers."""

    def load(self, folder, auto_class):
        loaded = auto_class.from_pretrained(folder, trust_remote_code=True)
        assert type(loaded).__module__.startswith("modeling_ecgclip.")
        return loaded

    def pipeline(self, task, folder):
        return pipeline(task, model=str(folder), trust_remote_code=True)


class ItsOwnCode:
    """The classes that lie beside the weights."""

    def load(self, folder, auto_class):
        stated = [json.loads(path.read_text()).get("auto_map", {}) for path in folder.glob("*config.json")]
        references = {name: reference for one in stated for name, reference in one.items()}
        return self._class(folder, references[auto_class.__name__]).from_pretrained(folder)

    def pipeline(self, task, folder):
        stated = json.loads((folder / "config.json").read_text())["custom_pipelines"][task]
        model = self.load(folder, getattr(transformers, stated["pt"][0]))
        if (folder / "processor_config.json").is_file():
            return self._class(folder, stated["impl"])(model=model, processor=self.load(folder, AutoProcessor))
        extractor = self.load(folder, AutoFeatureExtractor)
        return self._class(folder, stated["impl"])(model=model, feature_extractor=extractor)

    def _class(self, folder, reference):
        found = get_class_from_dynamic_module(reference, str(folder))
        assert found.__module__.startswith("transformers_modules.")
        return found


@pytest.fixture(params=[OurCode(), ItsOwnCode()], ids=["our code", "its own code"])
def code(request):
    return request.param


def model_inputs(extractor, rows):
    records = [read_ecg(row) for row in rows]
    one = records[0]
    signals = [record.signal for record in records]
    return extractor(signals, one.sampling_rate, one.lead_names, one.unit, return_tensors="pt")


def close(found, expected):
    np.testing.assert_allclose(torch.as_tensor(found).detach().numpy(), expected, atol=TOLERANCE, rtol=TOLERANCE)


def same_results(found, expected):
    """Labels in the same order, with the same scores and decisions; newer results may say more."""
    for of_row, expected_of_row in zip(found, expected, strict=True):
        for one, expected_one in zip(of_row, expected_of_row, strict=True):
            assert {key: one[key] for key in expected_one} == {
                key: pytest.approx(value, abs=TOLERANCE) if key == "score" else value
                for key, value in expected_one.items()
            }
            assert ("positive" in one) == ("positive" in expected_one)


def test_there_are_outputs_of_a_release():
    assert "0.1.0" in RELEASES


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_exam_table_has_its_rows(outputs, expected, name, streaming, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    table = load_exam_table(outputs / name, streaming=streaming)
    assert list(table) == list(SPLITS)
    assert table_digest(table) == expected["tables"]["digest"] == conversion_record(outputs / name)["digest"]
    for split, columns in expected["tables"]["rows"].items():
        found = list(table[split].select_columns(list(columns)))
        assert found == [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    with (outputs / name / "rejected.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == expected["tables"]["rejected"]


def test_each_row_is_read_to_the_microvolt(outputs, expected):
    table = load_exam_table(outputs / "exams")
    for row in (row for split in SPLITS for row in table[split]):
        microvolts = np.reshape(np.array(row["ecg"], np.int16), (12, 4096))
        record = read_ecg(row)
        assert record.signal.shape == (12, row["n_samples"])
        found = model_inputs(EcgFeatureExtractor(), [row])["input_values"][0]
        np.testing.assert_array_equal(found, (microvolts / 1000).astype(np.float32))
    first = np.reshape(table["test"][0]["ecg"], (12, 4096))
    assert first.sum(axis=1).tolist() == expected["tables"]["first_of_test"]["sums"]


def test_exam_table_is_published_as_it_was(outputs, expected, tmp_path, monkeypatch):
    # Publishing counts each label's exams anew, and refuses a table that its record does not describe.
    folder = tmp_path / "published"
    publish.main(["--dataset_name_or_path", str(outputs / "exams"), "--output_dir", str(folder)])
    table = DatasetDict.from_parquet({split: str(folder / "data" / f"{split}-*") for split in SPLITS})
    assert table_digest(table) == expected["tables"]["digest"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    code = card.split("```python\n")[1].split("```")[0]
    names: dict = {}
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(code, names)
    row = next(iter(table["test"]))
    assert list(names["labels"].values()) == row["labels"] and names["exam"]["exam_id"] == row["exam_id"]


@pytest.mark.parametrize("name", TABLES)
def test_text_table_is_that_of_its_text_model(outputs, expected, name):
    model = AutoModel.from_pretrained(outputs / "text_model", add_pooling_layer=False)
    table = load_text_table(outputs / name, outputs / "text_model", model=model)
    embeds = expected["tables"]["text_embeds"]
    assert list(map(str, table["report_id"])) == list(embeds)
    close(table["text_embeds"][:], list(embeds.values()))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_gives_the_same_logits_and_decisions(code, name, outputs, expected, rows):
    if name == "onnx":
        pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "ecgclip[export]"')
    model = code.load(outputs / name, AutoModelForAudioClassification).eval()
    told, config = expected["models"][name], model.config
    assert list(config.id2label.values()) == told["labels"]
    assert (None if config.thresholds is None else list(config.thresholds)) == told["thresholds"]
    assert config.problem_type == told["problem_type"]
    extractor = code.load(outputs / name, AutoFeatureExtractor)
    close(model(**model_inputs(extractor, rows)).logits, told["logits"])
    same_results(code.pipeline("ecg-classification", outputs / name)(rows), told["results"])


def test_tower_gives_the_same_embeddings(code, outputs, expected, rows):
    folder, told = outputs / "tower", expected["models"]["tower"]["pooler_output"]
    model = code.load(folder, AutoModel).eval()
    close(model(**model_inputs(code.load(folder, AutoFeatureExtractor), rows)).pooler_output, told)
    close(code.pipeline("ecg-feature-extraction", folder)(rows), told)


def test_dual_encoder_joins_the_same(code, outputs, expected, rows):
    folder, told = outputs / "dual_encoder", expected["models"]["dual_encoder"]
    model, processor = code.load(folder, AutoModel).eval(), code.load(folder, AutoProcessor)
    close(model.get_ecg_features(**model_inputs(processor.feature_extractor, rows)), told["ecg_embeds"])
    tokens = processor(text=told["words"], return_tensors="pt", padding=True)
    close(model.get_text_features(**tokens), told["text_embeds"])
    close(model.logit_scale, told["logit_scale"])
    found = code.pipeline("zero-shot-ecg-classification", folder)(rows, candidate_labels=told["words"])
    same_results(found, told["results"])
    close(code.pipeline("ecg-feature-extraction", folder)(rows), told["ecg_embeds"])


def test_endpoint_of_the_folder_answers_the_same(outputs, expected, rows):
    handler = get_class_from_dynamic_module("handler.EndpointHandler", str(outputs / "classifier"))
    record = read_ecg(rows[0])
    stated = {"sampling_rate": record.sampling_rate, "lead_names": list(record.lead_names), "unit": record.unit}
    answer = handler(str(outputs / "classifier"))({"inputs": record.signal.tolist(), "parameters": stated})
    same_results([answer], expected["models"]["classifier"]["results"][:1])


@pytest.mark.parametrize("name", ["classifier", "dual_encoder"])
def test_finished_run_gets_a_card_of_today(outputs, name, tmp_path):
    folder = shutil.copytree(outputs / name, tmp_path / name)
    run = read_run(folder)
    assert run.stage.name == {"classifier": "classification", "dual_encoder": "contrastive"}[name]
    assert run.label_names == ["1dAVb", "RBBB", "LBBB", "SB", "AF", "ST"]
    assert run.sources == ["simulated"] and run.simulated
    assert [origin["name"] for origin in run.origins] == (["dual_encoder"] if name == "classifier" else [])
    card = write_card(folder, repo_id="clinic/model").read_text(encoding="utf-8")
    assert is_sealed(card) and 'model="clinic/model"' in card  # the release's own card was replaced
    measured = run.metrics["test"] if name == "classifier" else run.metrics["test"]["zero_shot"]
    assert all(f"{values['auroc']:.3f}" in card for values in measured["per_class"].values())


def test_predictions_of_a_run_are_read(outputs, expected, rows):
    splits, labels = read_predictions(outputs / "classifier" / "predictions.parquet")
    told = expected["models"]["classifier"]
    assert list(labels) == told["labels"]
    assert list(splits["test"].exam_ids) == [row["exam_id"] for row in rows]
    close(splits["test"].probabilities, torch.tensor(told["logits"]).sigmoid())
    np.testing.assert_array_equal(splits["test"].labels, [row["labels"] for row in rows])


def test_training_goes_on_from_a_classifier(outputs, tmp_path):
    # With next to no learning rate the weights stay where they were, the head's too.
    after, record = train(train_cls, outputs, "classifier", tmp_path, "--learning_rate", "1e-12", *FEW)
    assert (record["starts_from"]["name"], record["starts_from"]["stage"]) == ("classifier", "classification")
    before = load_file(outputs / "classifier" / "model.safetensors")
    assert set(after) == set(before)
    for name in ("ecg_model.stem.layers.0.weight", "classifier.weight", "classifier.bias"):
        torch.testing.assert_close(after[name], before[name], atol=1e-9, rtol=0)


def test_training_goes_on_from_a_dual_encoder(outputs, tmp_path):
    after, record = train(train_cls, outputs, "dual_encoder", tmp_path, "--freeze_encoder", *FEW)
    assert (record["starts_from"]["name"], record["starts_from"]["stage"]) == ("dual_encoder", "contrastive")
    before = load_file(outputs / "dual_encoder" / "model.safetensors")
    tower = {name for name in before if name.startswith("ecg_model.")}
    assert tower and all(torch.equal(after[name], before[name]) for name in tower)


def test_pretraining_goes_on_with_the_text_table(outputs, tmp_path):
    text = ["--text_model_name_or_path", str(outputs / "text_model"), "--center_text"]
    after, record = train(train_clip, outputs, "dual_encoder", tmp_path, *text)
    assert record["used"]["train"]["exams"] == 11  # one of twelve has no report
    stated = conversion_record(outputs / "exams")["splits"]["test"]["labels"]
    assert record["used"]["test"]["positives"] == {name: counts["positive"] for name, counts in stated.items()}
    before = load_file(outputs / "dual_encoder" / "model.safetensors")
    assert set(after) == set(before)
    torch.testing.assert_close(after["text_center"], before["text_center"])


def train(script, outputs, start, tmp_path, *more):
    """Weights and record of two steps on the earlier exam table, from an earlier model."""
    folders = ["--dataset_name_or_path", str(outputs / "exams"), "--output_dir", str(tmp_path / "run")]
    script.main([*folders, "--model_name_or_path", str(outputs / start), *TWO_STEPS, *more])
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    return load_file(tmp_path / "run" / "model.safetensors"), record
