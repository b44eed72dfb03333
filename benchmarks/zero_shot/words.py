"""
How often a true phrase stands out from unrelated words on the page, how often one that is not true, and how often
other unrelated words: on validation exams, where the share that a phrase must be ahead of is chosen, and on test.

    python -m data_scripts.ptbxl --source_dir ptbxl100 --sampling_rate 100 --validation_folds 6 --test_folds 7 \
        --output_dir ptbxl
    python benchmarks/zero_shot/words.py --dataset_name_or_path ptbxl

Prints a table in Markdown for each language, then one line of JSON.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.zero_shot.run import embed  # noqa: E402 (the path comes first)
from common.commands import exit_status  # noqa: E402
from common.markdown import markdown_table  # noqa: E402
from modeling_ecgclip.pretrained_ecgclip import pretrained_folder  # noqa: E402
from space.analysis import Analyser  # noqa: E402
from space.nearest import embed_reports  # noqa: E402
from space.words import MIN_AHEAD, sentences, stands_out  # noqa: E402
from training.data import ExamSplit, ExamTable  # noqa: E402


PASSING = 0.05  # of other unrelated words, on validation
LANGUAGES = {"Português": "pt", "English": "en"}
# None of them is among those of space/words.py.
OTHERS = {
    "Português": (
        *("banana", "cadeira", "livro", "computador", "bicicleta", "rio", "música", "gato", "peixe", "café"),
        *("parede", "chave", "professor", "cozinha", "navio", "areia", "inverno", "hotel", "ponte", "guitarra"),
        *("duas meias verdes", "arroz com feijão", "um quadro na parede", "o trem das sete", "férias na praia"),
        *("a eleição de domingo", "uma carta de amor", "leite e mel", "o dono da padaria", "chapéu de palha"),
        *("as crianças dormem cedo", "um jogo de xadrez", "ele perdeu o passaporte", "vinho tinto e queijo"),
        *("a fila do banco", "uma torre muito alta"),
    ),
    "English": (
        *("banana", "chair", "book", "computer", "bicycle", "river", "music", "cat", "fish", "coffee"),
        *("wall", "key", "teacher", "kitchen", "ship", "sand", "winter", "hotel", "bridge", "guitar"),
        *("two green socks", "rice and beans", "a picture on the wall", "the seven o'clock train"),
        *("holidays at the beach", "the election on Sunday", "a love letter", "milk and honey", "the baker's shop"),
        *("a straw hat", "the children sleep early", "a game of chess", "he lost his passport"),
        *("red wine and cheese", "the queue at the bank", "a very tall tower"),
    ),
}


def leads_of(analyser: Analyser, ecgs: torch.Tensor, phrases: Any, language: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns lead and share of unrelated words, float32 (ECGs, phrases), of phrases in a language."""
    pair: Any = analyser.zero_shot
    places = torch.from_numpy(embed_reports(pair.model, pair.tokenizer, sentences(phrases, language)))
    lead, ahead_of = analyser.yardstick(language).leads(ecgs, places)
    return lead.numpy(), ahead_of.numpy()


def chosen_share(leads: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Returns the least share, in hundredths, with which no more than `PASSING` of unrelated words pass."""
    shares = np.arange(101) / 100
    passing = [np.mean([stands_out(*of, share).mean() for of in leads]) for share in shares]
    return float(shares[np.argmax(np.array(passing) <= PASSING)])


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", default=str(pretrained_folder("clip")), help="dual encoder")
    parser.add_argument("--dataset_name_or_path", required=True, help="exam table with labels and two splits or more")
    parser.add_argument("--batch_size", type=int, default=64, help="ECGs of one forward pass")
    arguments = parser.parse_args()
    analyser = Analyser.load(str(pretrained_folder("cls")), arguments.model_name_or_path)
    pair: Any = analyser.zero_shot
    table = ExamTable.load(arguments.dataset_name_or_path)
    splits = {name: ExamSplit(table.splits[name]) for name in ("validation", "test")}
    places = torch.from_numpy(embed(pair.model, pair.feature_extractor, table, arguments.batch_size))
    of_split = dict(zip(table.splits, places.split([len(rows) for rows in table.splits.values()]), strict=True))
    labels = table.schema.labels
    others = {
        split: [leads_of(analyser, of_split[split], OTHERS[language], language) for language in LANGUAGES]
        for split in splits
    }
    share = chosen_share(others["validation"])
    found: dict[str, Any] = {"chosen": share, "on the page": MIN_AHEAD, "passing": {}}
    rows = [["split", "language", "unrelated words", *(label.name for label in labels), "mean"]]
    for split, exams in splits.items():
        for of_others, (language, code) in zip(others[split], LANGUAGES.items(), strict=True):
            phrases = [label.phrase_in(code) for label in labels]
            passed = stands_out(*leads_of(analyser, of_split[split], phrases, language), share)  # (exams, labels)
            rates = [
                {
                    "true": float(passed[exams.labels[:, i] == 1, i].mean()),
                    "false": float(passed[exams.labels[:, i] == 0, i].mean()),
                    "positives": int((exams.labels[:, i] == 1).sum()),
                }
                for i in range(len(labels))
            ]
            unrelated = float(stands_out(*of_others, share).mean())
            found["passing"][f"{split}, {code}"] = {"unrelated": unrelated, "labels": rates}
            mean = {key: float(np.mean([rate[key] for rate in rates])) for key in ("true", "false")}
            cells = [f"{rate['true']:.2f} ({rate['positives']}), {rate['false']:.2f}" for rate in rates]
            rows.append(
                [split, language, f"{unrelated:.3f}", *cells, f"{mean['true']:.2f}, {mean['false']:.2f}"],
            )
    print(markdown_table(rows))
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(exit_status(main))
