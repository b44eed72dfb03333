import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM

from data_scripts.make_text_model import learn_masked_words, make_text_model, train_tokenizer


TEXTS = [f"onda {wave} em {lead}" for wave in "PQRST" for lead in ("V1", "V2", "V3")] + ["ritmo sinusal regular"]


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
