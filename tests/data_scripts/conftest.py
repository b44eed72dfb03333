"""A small folder in the layout of CODE-15%, and a text encoder small enough to make on the spot."""

import pytest

from data_scripts.code15 import main
from data_scripts.tables.schema import load_exam_table
from tests.data_scripts.code15_layout import exams_frame, make_tracing, write_part


@pytest.fixture
def code15_folder(tmp_path):
    """Two parts of 30 and 20 exams, some of 7 s, the lines of exams.csv in another order than the rows; 50 exams."""
    folder = tmp_path / "code15"
    folder.mkdir()
    parts = {"exams_part0.hdf5": range(61, 91), "exams_part10.hdf5": range(91, 111)}
    for part, ids in parts.items():
        write_part(folder / part, ids, [make_tracing(i, 2934 if i % 3 == 0 else 4096) for i in ids])
    frame = exams_frame(parts).sample(frac=1, random_state=0)
    frame.to_csv(folder / "exams.csv", index=False)
    return folder


@pytest.fixture
def convert(tmp_path):
    """Runs the command line of CODE-15%; returns its record and the opened table."""

    def run(folder, *arguments, output="table"):
        output = tmp_path / output
        record = main(["--source_dir", str(folder), "--output_dir", str(output), *map(str, arguments)])
        return record, load_exam_table(output)

    return run


@pytest.fixture
def refused(tmp_path):
    """Runs the command line of CODE-15%, which must fail with `error`, a message that matches, and no output."""

    def run(folder, error, match, *arguments):
        output = tmp_path / "refused"
        with pytest.raises(error, match=match):
            main(["--source_dir", str(folder), "--output_dir", str(output), *map(str, arguments)])
        assert not list(tmp_path.glob("refused*"))

    return run


@pytest.fixture(scope="session")
def text_model_folder(tmp_path_factory):
    """A BERT of a few thousand random weights, and a tokenizer of its letters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {token: i for i, token in enumerate(letters)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )
    config = BertConfig(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("text_models") / "toy-bert"
    BertModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
