"""Saved models state the digests of their files; what flipped on the way is noticed when it is loaded."""

import json
import shutil

import pytest
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, AutoTokenizer

from common.checksums import SUMS_FILE, read_checksums, verify_checksums
from modeling_ecgclip import (
    EcgClipModel,
    EcgClipProcessor,
    EcgFeatureExtractor,
    encoder_config,
    save_for_hub,
)
from modeling_ecgclip.hub_ecgclip import state_saved_model
from modeling_ecgclip.pretrained_ecgclip import pretrained_folder
from modeling_ecgclip.towers_ecgclip import classifier_class
from tests.modeling_ecgclip.test_checksums_ecgclip import flip_bit


def classifier(**kwargs):
    config = encoder_config("tiny", **kwargs)
    return classifier_class(config)(config)


@pytest.fixture
def folder(tmp_path):
    save_for_hub(classifier(), tmp_path / "model", EcgFeatureExtractor())
    return tmp_path / "model"


def load(folder, **kwargs):
    return AutoModelForAudioClassification.from_pretrained(folder, **kwargs)


@pytest.fixture
def warnings(monkeypatch):
    """What is warned of while loading."""
    from modeling_ecgclip import hub_ecgclip

    said = []
    monkeypatch.setattr(hub_ecgclip.logger, "warning", said.append)
    return said


def test_every_file_of_a_saved_model_is_stated(folder):
    assert sorted(read_checksums(folder)) == sorted({path.name for path in folder.iterdir()} - {SUMS_FILE})
    assert verify_checksums(folder)


@pytest.mark.parametrize("place", [0, 5, 100, 100_000, -1])
def test_a_flipped_bit_of_the_weights_is_refused(folder, place, warnings):
    flip_bit(folder / "model.safetensors", place, 6)
    message = r"model.safetensors: expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}"
    for auto in (AutoModelForAudioClassification, AutoModel):
        with pytest.raises(ValueError, match=message):
            auto.from_pretrained(folder)
    with pytest.raises(ValueError, match=message):
        classifier_class(AutoConfig.from_pretrained(folder)).from_pretrained(folder, dtype=torch.float16)
    assert not warnings


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_edited_settings_are_told_of_and_loaded(folder, name, warnings):
    settings = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(settings))
    load(folder)
    assert len(warnings) == 1 and name in warnings[0]


def test_what_is_saved_again_stays_loadable(folder, warnings):
    model = load(folder)
    with torch.no_grad():
        model.classifier.weight.add_(1)
    model.save_pretrained(folder)
    assert torch.equal(load(folder).classifier.weight, model.classifier.weight)
    model.half().save_pretrained(folder)
    assert load(folder).dtype == torch.float16
    EcgFeatureExtractor(highpass_hz=0.5).save_pretrained(folder)
    model.save_pretrained(folder, max_shard_size="100KB")
    (folder / "model.safetensors").unlink()
    shards = sorted(name for name in read_checksums(folder) if name.startswith("model-"))
    assert len(shards) > 1 and load(folder)
    flip_bit(folder / shards[-1], -1)
    with pytest.raises(ValueError, match=shards[-1]):
        load(folder)
    model.save_pretrained(folder)
    assert not any(name.startswith("model-") for name in read_checksums(folder))
    assert load(folder).dtype == torch.float16 and AutoFeatureExtractor.from_pretrained(folder).highpass_hz == 0.5
    assert not warnings


def test_a_folder_of_an_earlier_release_is_loaded_in_silence(folder, warnings):
    (folder / SUMS_FILE).unlink()
    flip_bit(folder / "model.safetensors", -1)
    load(folder)
    EcgFeatureExtractor().save_pretrained(folder)
    assert not (folder / SUMS_FILE).exists() and not warnings


def test_a_preprocessor_alone_states_nothing(tmp_path):
    EcgFeatureExtractor().save_pretrained(tmp_path)
    assert not (tmp_path / SUMS_FILE).exists()


def test_other_processes_than_the_main_one_state_nothing(tmp_path):
    classifier().save_pretrained(tmp_path, is_main_process=False)
    assert not (tmp_path / SUMS_FILE).exists()


def test_only_here(folder, tmp_path):
    """A subfolder has digests of its own, and a path that leads nowhere is the error that it was."""
    shutil.move(folder, tmp_path / "parent" / "model")
    assert load(tmp_path / "parent", subfolder="model")
    flip_bit(tmp_path / "parent" / "model" / "model.safetensors", -1)
    with pytest.raises(ValueError, match="model.safetensors: expected SHA-256"):
        load(tmp_path / "parent", subfolder="model")
    with pytest.raises(OSError, match="absent"):
        type(classifier()).from_pretrained(str(tmp_path / "absent"))


def test_what_is_uploaded_while_saving_has_its_digests(tmp_path, monkeypatch):
    sent = {}

    class Api:
        def create_repo(self, repo_id, **kwargs):
            return type("Repo", (), {"repo_id": repo_id})

        def create_commit(self, operations, **kwargs):
            sent.update({one.path_in_repo: open(one.path_or_fileobj, "rb").read() for one in operations})

    class Card:
        def save(self, path):
            open(path, "w").close()

    from transformers import modeling_utils
    from transformers.utils import hub

    for module in (modeling_utils, hub):
        monkeypatch.setattr(module, "hf_api", Api)
        monkeypatch.setattr(module, "create_and_tag_model_card", lambda *_, **__: Card())
    model = classifier()
    for push in (
        lambda: model.save_pretrained(tmp_path / "model", push_to_hub=True),
        lambda: model.push_to_hub("a/b"),
    ):
        sent.clear()
        push()
        (tmp_path / "got").mkdir()
        for name, content in sent.items():
            (tmp_path / "got" / name).write_bytes(content)
        assert "model.safetensors" in verify_checksums(tmp_path / "got")
        shutil.rmtree(tmp_path / "got")


@pytest.fixture
def clip_folder(tmp_path, text_model):
    model = EcgClipModel.from_ecg_text_pretrained(encoder_config("tiny"), str(text_model))
    processor = EcgClipProcessor(EcgFeatureExtractor(), AutoTokenizer.from_pretrained(text_model))
    save_for_hub(model, tmp_path / "clip", processor)
    return tmp_path / "clip"


def test_a_dual_encoder_and_what_is_made_of_it(clip_folder, warnings):
    assert AutoModel.from_pretrained(clip_folder) and "tokenizer.json" in read_checksums(clip_folder)
    EcgClipProcessor.from_pretrained(clip_folder).save_pretrained(clip_folder)
    assert load(clip_folder, num_labels=2) and not warnings
    flip_bit(clip_folder / "model.safetensors", -1)
    for auto in (AutoModel, AutoModelForAudioClassification):
        with pytest.raises(ValueError, match="model.safetensors: expected SHA-256"):
            auto.from_pretrained(clip_folder)


def test_a_text_model_with_digests_is_compared(tmp_path, text_model):
    shutil.copytree(text_model, tmp_path / "text")
    state_saved_model(tmp_path / "text")
    assert EcgClipModel.from_ecg_text_pretrained(encoder_config("tiny"), str(tmp_path / "text"))
    flip_bit(tmp_path / "text" / "model.safetensors", -1)
    with pytest.raises(ValueError, match="model.safetensors: expected SHA-256"):
        EcgClipModel.from_ecg_text_pretrained(encoder_config("tiny"), str(tmp_path / "text"))


@pytest.mark.parametrize("kind", ["clip", "cls"])
def test_the_default_models_are_what_was_packed(kind):
    compared = verify_checksums(pretrained_folder(kind))
    assert {"config.json", "model.safetensors", "installed_ecgclip.py"} <= set(compared)
