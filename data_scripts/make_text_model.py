"""
Makes a small Portuguese text encoder from the reports of an exam table, with random weights: no download needed.

It stands in for a real one (pucpr/biobertpt-all) where there is no network. Random weights still tell texts apart by
their words, which is all that the demo needs; for real work use a real encoder. With --masked_word_steps it learns to
guess words that are hidden from it, so that its embeddings know which words go together.

Example:
    python -m data_scripts.make_text_model --dataset_name_or_path exams --output_dir text_model
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast

from common.arguments import plain_parser
from common.commands import exit_status
from common.locks import only_writer
from common.writing import check_new, written_aside
from data_scripts.tables.schema import load_exam_table
from modeling_ecgclip.hub_ecgclip import state_saved_model


# Of learning from masked words, as BERT does it.
HIDDEN_SHARE = 0.15
TEXTS_A_STEP = 32
LEARNING_RATE = 1e-3

INSIDE = "##"  # before a piece that does not begin a word, as in BERT's vocabularies
SPECIAL_TOKENS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def train_tokenizer(texts: Iterable[str], vocab_size: int = 1000, max_length: int = 256) -> PreTrainedTokenizerFast:
    """
    Returns a WordPiece tokenizer trained on `texts`, blind to case and accents as BERT's uncased ones are; of the same
    texts always the same one.
    """
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    special = list(SPECIAL_TOKENS.values())
    pieces = special + learn_pieces(words, vocab_size - len(special))
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    cls, sep = SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **SPECIAL_TOKENS)


def learn_pieces(words: Mapping[str, int], size: int) -> list[str]:
    """
    Returns WordPiece's vocabulary: all letters, then the pair that is most frequent, merged, and so on.

    The trainer of `tokenizers` does the same and breaks ties by the order of a hash table, which differs from process
    to process; here the order of the alphabet breaks them.

    Args:
        words (`Mapping[str, int]`): How often each occurs.
        size (`int`): Pieces at most, but for the letters, which are never left out.
    """
    spelt = {word: [word[0], *(f"{INSIDE}{letter}" for letter in word[1:])] for word in words}
    pieces = dict.fromkeys(sorted({piece for spelling in spelt.values() for piece in spelling}))
    counts: Counter[tuple[str, str]] = Counter()
    found_in: dict[tuple[str, str], set[str]] = defaultdict(set)

    def count(word: str, sign: int) -> None:
        for pair in pairwise(spelt[word]):
            counts[pair] += sign * words[word]
            found_in[pair].add(word)

    for word in spelt:
        count(word, 1)
    while len(pieces) < size and any(counts.values()):
        pair = max(counts, key=lambda one: (counts[one], one))
        merged = pair[0] + pair[1].removeprefix(INSIDE)
        pieces[merged] = None
        for word in found_in.pop(pair):
            count(word, -1)
            spelt[word] = _merge(spelt[word], pair, merged)
            count(word, 1)
    return list(pieces)


def _merge(spelling: Sequence[str], pair: tuple[str, str], merged: str) -> list[str]:
    """A word's pieces, with a pair of them made one wherever it stands."""
    found: list[str] = []
    for piece in spelling:
        if found and (found[-1], piece) == pair:
            found[-1] = merged
        else:
            found.append(piece)
    return found


def learn_masked_words(
    model: BertForMaskedLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], steps: int, seed: int = 0
) -> float:
    """
    Trains a masked language model in place (Devlin et al. 2019, without its next-sentence task).

    Args:
        model (`BertForMaskedLM`): Moved to the accelerator, if there is one.
        tokenizer (`PreTrainedTokenizerFast`): Its unknown token hides a word: texts that it was trained on have none.
        texts (`Sequence[str]`): To learn from.
        steps (`int`): Optimizer steps.
        seed (`int`, defaults to 0): Of the texts and hidden words of each step.

    Returns:
        `float`: Mean loss of the last tenth of the steps, in nats a hidden word.
    """
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    nn.Module.to(model, device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)  # of dropout
    losses = []
    for _ in range(steps):
        chosen = [texts[i] for i in generator.integers(0, len(texts), TEXTS_A_STEP)]
        inputs = tokenizer(chosen, padding=True, truncation=True, return_tensors="pt", return_special_tokens_mask=True)
        words = ~inputs.pop("special_tokens_mask").bool()
        hidden = torch.from_numpy(generator.random(words.shape) < HIDDEN_SHARE) & words
        targets = inputs["input_ids"].masked_fill(~hidden, -100).to(device)
        inputs["input_ids"] = inputs["input_ids"].masked_fill(hidden, tokenizer.unk_token_id)
        logits = model(**inputs.to(device)).logits  # (texts, tokens, vocabulary)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum") / hidden.sum().clamp(min=1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    model.eval()
    return torch.stack(losses[-max(1, steps // 10) :]).mean().item()


def make_text_model(
    texts: Iterable[str], folder: str | Path, hidden_size: int = 128, seed: int = 0, masked_word_steps: int = 0
) -> None:
    """
    Writes a folder that `AutoModel` and `AutoTokenizer` load; of the same texts and arguments the same bytes.

    Args:
        texts (`Iterable[str]`): To train the tokenizer on, and perhaps the weights.
        folder (`str` or `Path`): Where to; one that is there is replaced as a whole.
        hidden_size (`int`, defaults to 128): Width of the embeddings.
        seed (`int`, defaults to 0): Of the weights.
        masked_word_steps (`int`, defaults to 0): Steps of [`learn_masked_words`]; 0 leaves random weights.
    """
    texts = list(texts)
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
    if masked_word_steps:
        learner = BertForMaskedLM(config)
        learn_masked_words(learner, tokenizer, texts, masked_word_steps, seed)
        model = learner.bert.cpu()
    else:
        model = BertModel(config)
    with written_aside(folder) as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        state_saved_model(aside)


def main(argv: Sequence[str] | None = None) -> None:
    """
    Runs the command line.

    Raises:
        `FileExistsError`: where the folder is there and is not to be replaced.
    """
    parser = plain_parser(__doc__)
    parser.add_argument("--dataset_name_or_path", required=True, help="exam table with reports")
    parser.add_argument("--output_dir", required=True, help="folder of the text encoder")
    parser.add_argument(
        "--masked_word_steps", type=int, default=0, help="steps of learning masked words; 0: random weights"
    )
    parser.add_argument("--overwrite_output_dir", action="store_true", help="replace the folder if it exists")
    args = parser.parse_args(argv)
    check_new(args.output_dir, args.overwrite_output_dir)
    reports = load_exam_table(args.dataset_name_or_path)["train"].unique("report")
    texts = sorted(report for report in reports if report)
    with only_writer(args.output_dir):
        check_new(args.output_dir, args.overwrite_output_dir)
        make_text_model(texts, args.output_dir, masked_word_steps=args.masked_word_steps)
    weights = f"that learned {args.masked_word_steps} steps" if args.masked_word_steps else "with random weights"
    print(f"text encoder {weights} written to {args.output_dir}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
