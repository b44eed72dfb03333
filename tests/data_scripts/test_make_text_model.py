import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM

from common.checksums import read_checksums
from data_scripts.embed_reports import load_text_encoder
from data_scripts.make_text_model import learn_masked_words, learn_pieces, main, make_text_model, train_tokenizer
from modeling_ecgclip.checksums_ecgclip import DamagedFileError
from tests.modeling_ecgclip.test_checksums_ecgclip import flip_bit


TEXTS = [f"onda {wave} em {lead}" for wave in "PQRST" for lead in ("V1", "V2", "V3")] + ["ritmo sinusal regular"]


def test_the_same_texts_give_the_same_bytes_with_the_mode_of_the_umask(tmp_path):
    make_text_model(TEXTS, tmp_path / "a", hidden_size=32)
    make_text_model(TEXTS[::-1], tmp_path / "b", hidden_size=32)
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab")
    assert first == second and "model.safetensors" in first
    (tmp_path / "new").touch()
    assert {path.stat().st_mode for path in (tmp_path / "a").iterdir()} == {(tmp_path / "new").stat().st_mode}


def test_pieces_are_merged_by_how_often_pairs_occur_and_then_by_the_alphabet():
    # a ##b occurs five times, then ab ##a thrice; of a ##a and ##a ##a, once each, the later in the alphabet.
    assert learn_pieces({"ab": 2, "aba": 3, "aaa": 1}, 5) == ["##a", "##b", "a", "ab", "aba"]
    assert learn_pieces({"ab": 2, "aba": 3, "aaa": 1}, 6)[-1] == "aa"
    assert learn_pieces({"aba": 1}, 100) == ["##a", "##b", "a", "ab", "aba"]  # there is no more to merge
    assert len(learn_pieces({"abc": 1}, 1)) == 3


def test_a_folder_that_is_there_is_replaced_on_request_alone(exam_table, tmp_path):
    arguments = ["--dataset_name_or_path", str(exam_table), "--output_dir", str(tmp_path)]
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="--overwrite_output_dir"):
        main(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_it_learns_words_that_are_hidden_from_it_and_repeats_itself():
    tokenizer = train_tokenizer(TEXTS)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 32}
    losses = []
    for steps in (10, 150, 150):
        torch.manual_seed(0)
        model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **size))
        losses.append(learn_masked_words(model, tokenizer, TEXTS, steps))
    assert losses[1] == losses[2] < 0.8 * losses[0]


@pytest.mark.parametrize("steps", [0, 3])
def test_a_made_model_loads_and_only_steps_move_its_weights(steps, tmp_path):
    make_text_model(TEXTS, tmp_path / "a", hidden_size=32, masked_word_steps=steps)
    make_text_model(TEXTS, tmp_path / "b", hidden_size=32)
    first, second = (AutoModel.from_pretrained(tmp_path / name).state_dict() for name in "ab")
    moved = [not torch.equal(first[name], second[name]) for name in first if not name.startswith("pooler.")]
    assert any(moved) == bool(steps)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert np.ndim(tokenizer("onda P em V1")["input_ids"]) == 1


def test_a_flipped_bit_of_the_weights_is_refused_by_whoever_embeds_with_it(tmp_path):
    make_text_model(TEXTS, tmp_path / "a", hidden_size=32)
    make_text_model(TEXTS[:5], tmp_path / "a", hidden_size=64)  # made again, it states what is there now
    model, tokenizer = load_text_encoder(tmp_path / "a")
    assert model.config.hidden_size == 64 and {"config.json", "tokenizer.json"} <= set(read_checksums(tmp_path / "a"))
    flip_bit(tmp_path / "a" / "model.safetensors", -1)
    with pytest.raises(DamagedFileError, match="model.safetensors: expected SHA-256"):
        load_text_encoder(tmp_path / "a")
    model.save_pretrained(tmp_path / "a")  # not by this project: it knows of no digests
    with pytest.raises(DamagedFileError, match="correct or remove its line in .*SHA256SUMS"):
        load_text_encoder(tmp_path / "a")
