"""Saved models state the digests of their files; what flipped on the way is noticed when it is loaded."""

import json
import shutil

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    AutoTokenizer,
    pipeline,
)

from common.checksums import SUMS_FILE, file_digest, read_checksums, verify_checksums
from modeling_ecgclip import (
    EcgClipModel,
    EcgClipProcessor,
    EcgFeatureExtractor,
    encoder_config,
    save_for_hub,
)
from modeling_ecgclip.checksums_ecgclip import DamagedFileError, checksum_lines
from modeling_ecgclip.hub_ecgclip import state_saved_model, state_saved_settings
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


def test_every_file_of_a_saved_model_is_stated(folder):
    assert sorted(read_checksums(folder)) == sorted({path.name for path in folder.iterdir()} - {SUMS_FILE})
    assert verify_checksums(folder)


@pytest.mark.parametrize("place", [0, 5, 100, 100_000, -1])
def test_a_flipped_bit_of_the_weights_is_refused(folder, place):
    flip_bit(folder / "model.safetensors", place, 6)
    message = r"model.safetensors: expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}"
    for auto in (AutoModelForAudioClassification, AutoModel):
        with pytest.raises(DamagedFileError, match=message):
            auto.from_pretrained(folder)
    with pytest.raises(DamagedFileError, match=message):
        classifier_class(AutoConfig.from_pretrained(folder)).from_pretrained(folder, dtype=torch.float16)


@pytest.mark.parametrize(("name", "old"), [("config.json", '"threshold'), ("preprocessor_config.json", "400")])
def test_settings_that_differ_are_refused_until_their_line_is_gone(folder, name, old):
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace(old, old[:-1] + chr(ord(old[-1]) ^ 1), 1))
    with pytest.raises(DamagedFileError, match=rf"{name}: expected SHA-256 .*remove its line in {folder}/SHA256SUMS"):
        load(folder)
    (folder / name).write_text(text.replace("\n", "\r\n"), newline="")
    assert load(folder)  # as git checks out texts on Windows
    (folder / name).write_text(json.dumps(json.loads(text)))
    stated = {one: digest for one, digest in read_checksums(folder).items() if one != name}
    (folder / SUMS_FILE).write_text(checksum_lines(stated))
    assert load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "preprocessor_config.json"])
def test_a_pipeline_says_it_in_one_error(folder, name):
    flip_bit(folder / name, 40)
    with pytest.raises(DamagedFileError) as raised:
        pipeline("ecg-classification", model=str(folder), trust_remote_code=True)
    line = str(raised.value)
    assert (
        f"{folder / name}: expected SHA-256 {read_checksums(folder)[name]}, found {file_digest(folder / name)}" in line
    )
    assert raised.value.__cause__ is None and "\n" not in line


def test_records_beside_a_model_are_nothing_that_loading_reads(folder):
    (folder / "run.json").write_text("{}")
    state_saved_settings(folder, "run.json")
    (folder / "run.json").write_text("[]")
    assert "run.json" in read_checksums(folder) and load(folder)


def test_what_is_saved_again_stays_loadable(folder):
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
    with pytest.raises(DamagedFileError, match=shards[-1]):
        load(folder)
    model.save_pretrained(folder)
    assert not any(name.startswith("model-") for name in read_checksums(folder))
    assert load(folder).dtype == torch.float16 and AutoFeatureExtractor.from_pretrained(folder).highpass_hz == 0.5


def test_a_folder_of_an_earlier_release_is_loaded_in_silence(folder):
    (folder / SUMS_FILE).unlink()
    flip_bit(folder / "model.safetensors", -1)
    load(folder)
    EcgFeatureExtractor().save_pretrained(folder)
    assert not (folder / SUMS_FILE).exists()


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
    with pytest.raises(DamagedFileError, match="model.safetensors: expected SHA-256"):
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


def test_a_dual_encoder_and_what_is_made_of_it(clip_folder):
    assert AutoModel.from_pretrained(clip_folder) and "tokenizer.json" in read_checksums(clip_folder)
    EcgClipProcessor.from_pretrained(clip_folder).save_pretrained(clip_folder)
    assert load(clip_folder, num_labels=2)
    flip_bit(clip_folder / "model.safetensors", -1)
    for auto in (AutoModel, AutoModelForAudioClassification):
        with pytest.raises(DamagedFileError, match="model.safetensors: expected SHA-256"):
            auto.from_pretrained(clip_folder)


def test_a_text_model_with_digests_is_compared(tmp_path, text_model):
    shutil.copytree(text_model, tmp_path / "text")
    state_saved_model(tmp_path / "text")
    assert EcgClipModel.from_ecg_text_pretrained(encoder_config("tiny"), str(tmp_path / "text"))
    flip_bit(tmp_path / "text" / "model.safetensors", -1)
    with pytest.raises(DamagedFileError, match="model.safetensors: expected SHA-256"):
        EcgClipModel.from_ecg_text_pretrained(encoder_config("tiny"), str(tmp_path / "text"))


@pytest.mark.parametrize("kind", ["clip", "cls", "encoder"])
def test_the_default_models_are_what_was_packed(kind):
    compared = verify_checksums(pretrained_folder(kind))
    assert {"config.json", "model.safetensors", "installed_ecgclip.py"} <= set(compared)
