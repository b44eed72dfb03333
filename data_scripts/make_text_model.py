"""
Makes a small Portuguese text encoder from the reports of an exam table, with random weights: no download needed.

It stands in for a real one (pucpr/biobertpt-all) where there is no network. Random weights still tell texts apart by
their words, which is all that the demo needs; for real work use a real encoder.

Example:
    python -m data_scripts.make_text_model --dataset_name_or_path exams --output_dir text_model
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from common.commands import exit_status
from data_scripts.tables.schema import load_exam_table


SPECIAL_TOKENS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def train_tokenizer(texts: Iterable[str], vocab_size: int = 1000, max_length: int = 256) -> PreTrainedTokenizerFast:
    """Returns a WordPiece tokenizer trained on `texts`, blind to case and accents as BERT's uncased ones are."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS.values()), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    cls, sep = SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **SPECIAL_TOKENS)


def make_text_model(texts: Iterable[str], folder: str | Path, hidden_size: int = 128, seed: int = 0) -> None:
    """
    Writes a folder that `AutoModel` and `AutoTokenizer` load.

    Args:
        texts (`Iterable[str]`): To train the tokenizer on.
        folder (`str` or `Path`): Where to.
        hidden_size (`int`, defaults to 128): Width of the embeddings.
        seed (`int`, defaults to 0): Of the weights.
    """
    tokenizer = train_tokenizer(texts)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=2,
        num_attention_heads=max(1, hidden_size // 32),
        intermediate_size=2 * hidden_size,
        max_position_embeddings=tokenizer.model_max_length,
        initializer_range=0.1,  # with BERT's 0.02 two random layers hardly tell texts apart
    )
    torch.manual_seed(seed)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_name_or_path", required=True, help="exam table with reports")
    parser.add_argument("--output_dir", required=True, help="folder of the text encoder")
    args = parser.parse_args()
    reports = load_exam_table(args.dataset_name_or_path)["train"].unique("report")
    make_text_model(sorted(report for report in reports if report), args.output_dir)
    print(f"text encoder with random weights written to {args.output_dir}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
