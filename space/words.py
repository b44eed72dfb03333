"""
Whether a phrase says more of an ECG than words that have nothing to do with ECGs: here the page decides on that.

A cosine alone says little. Texts of one kind point nearly the same way, and some ECGs lie near to any text, so that
"banana" may be nearer to atrial fibrillation than "regular rhythm" is to a regular one. A phrase is therefore held
against unrelated words with the same ECG, and the ECG against a few others with the same phrase.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from modeling_ecgclip.pipeline_ecgclip import HYPOTHESIS_TEMPLATES


MAX_WORDS = 20
MAX_WORD_LENGTH = 200
# What the text tower reads around each of the user's phrases.
TEMPLATES = {"Português": HYPOTHESIS_TEMPLATES["pt"], "English": HYPOTHESIS_TEMPLATES["en"]}
# Share of the unrelated words that a phrase must be ahead of: chosen on validation exams of PTB-XL, so that of other
# unrelated words one in twenty passes both conditions (benchmarks/zero_shot/words.py).
MIN_AHEAD = 0.86
UNRELATED_REMARK = "no better than unrelated words"
ELSEWHERE_REMARK = "nearer to the examples than to this ECG"
EXPLAINED = (
    "Percent: compared with the other phrases. Similarity: the cosine in the space that ECGs and texts share; in "
    "brackets, how much more that is than with the simulated examples on average, and of how many unrelated words "
    '("bread and butter") that is more. A phrase has a remark where it is ahead of fewer than '
    f"{100 * MIN_AHEAD:.0f} % of them, or not nearer to this ECG: the model does not see it here, or does not know "
    "what it means."
)
# As short as what people type: words, and a few words together.
UNRELATED = {
    "Português": (
        *("mesa", "janela", "sapato", "telefone", "avião", "chuva", "montanha", "praia", "futebol", "violino"),
        *("jardim", "cachorro", "cavalo", "queijo", "açúcar", "laranja", "lâmpada", "dinheiro", "escola", "floresta"),
        *("verão", "castelo", "pintura", "teatro"),
        *("uma casa amarela", "pão com manteiga", "um livro antigo", "três gatos pretos", "férias de julho"),
        *("o preço do petróleo", "música para dançar", "uma viagem de trem", "a capital da França", "sopa de legumes"),
        *("flores no vaso", "o time venceu ontem", "um filme de terror", "chaves do carro", "neve nas montanhas"),
        *("aulas de inglês", "uma ponte sobre o rio", "bolo de chocolate e café", "o relógio da igreja parou"),
        *("meu irmão comprou uma bicicleta", "eles jogam cartas à noite", "o mercado fecha às seis"),
        *("roupas no varal e sol forte", "um barco pequeno, duas velas brancas"),
    ),
    "English": (
        *("table", "window", "shoe", "telephone", "airplane", "rain", "mountain", "beach", "football", "violin"),
        *("garden", "dog", "horse", "cheese", "sugar", "orange", "lamp", "money", "school", "forest"),
        *("summer", "castle", "painting", "theatre"),
        *("a yellow house", "bread and butter", "an old book", "three black cats", "summer holidays"),
        *("the price of oil", "music to dance to", "a journey by train", "the capital of France", "vegetable soup"),
        *("flowers in a vase", "the team won yesterday", "a horror film", "car keys", "snow in the mountains"),
        *("English lessons", "a bridge across the river", "chocolate cake and coffee", "the church clock stopped"),
        *("my brother bought a bicycle", "they play cards at night", "the market closes at six"),
        *("clothes on the line and bright sun", "a small boat, two white sails"),
    ),
}


@dataclass(frozen=True)
class Fit:
    """
    How well a phrase fits an ECG.

    Args:
        similarity (`float`): Their cosine in the joint space.
        lead (`float`): How much more that is than the mean cosine with the other ECGs.
        ahead_of (`float`): Share of the unrelated words whose lead is smaller.
    """

    similarity: float
    lead: float
    ahead_of: float

    @property
    def remark(self) -> str | None:
        """What keeps its similarity from meaning anything; None where it stands out."""
        if stands_out(self.lead, self.ahead_of):
            return None
        return UNRELATED_REMARK if self.ahead_of < MIN_AHEAD else ELSEWHERE_REMARK

    def to_dict(self) -> dict[str, float | str | None]:
        """Returns its fields and its remark."""
        return {**asdict(self), "remark": self.remark}


@dataclass(frozen=True)
class Yardstick:
    """
    What the similarity of a phrase and an ECG is measured with.

    Args:
        ecg_embeds (`torch.Tensor` of shape `(ECGs, projection_dim)`): Places of other ECGs in the joint space.
        word_embeds (`torch.Tensor` of shape `(words, projection_dim)`): Places of unrelated words.
    """

    ecg_embeds: torch.Tensor
    word_embeds: torch.Tensor

    def leads(self, ecg_embeds: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Returns how much nearer each text is to each ECG than to the other ECGs, `(ECGs, texts)`, and for which share
        of the unrelated words that is less, in the same shape.

        Args:
            ecg_embeds (`torch.Tensor` of shape `(ECGs, projection_dim)`): L2-normalised.
            places (`torch.Tensor` of shape `(texts, projection_dim)`): L2-normalised.
        """
        away = ecg_embeds - self.ecg_embeds.mean(0)
        lead = away @ places.T  # (ECGs, texts): the cosine, less the mean cosine with the other ECGs
        of_words = away @ self.word_embeds.T  # (ECGs, words)
        return lead, (of_words[:, None, :] < lead[:, :, None]).float().mean(-1)

    def fits(self, ecg_embeds: torch.Tensor, places: torch.Tensor) -> list[Fit]:
        """Returns how well texts `(texts, projection_dim)` fit one ECG `(1, projection_dim)`."""
        lead, ahead_of = (of[0].tolist() for of in self.leads(ecg_embeds, places))
        similarity = (ecg_embeds @ places.T)[0].tolist()
        return [Fit(*numbers) for numbers in zip(similarity, lead, ahead_of, strict=True)]


def stands_out(lead: Any, ahead_of: Any, min_ahead: float = MIN_AHEAD) -> Any:
    """
    Returns whether a text fits an ECG better than unrelated words: it is nearer to this ECG than to others, and more
    so than most unrelated words are. Numbers, or tensors of one shape.
    """
    return (lead > 0) & (ahead_of >= min_ahead)


def phrases_of(words: str) -> list[str]:
    """
    Returns the phrases of a text with one a line.

    Raises:
        `ValueError`: for fewer than two phrases, too many, too long or equal ones.
    """
    phrases = [line.strip() for line in words.splitlines() if line.strip()]
    if not 2 <= len(phrases) <= MAX_WORDS:
        raise ValueError(
            f"expected 2 to {MAX_WORDS} phrases, one a line, since they are compared with each other: "
            f"found {len(phrases)}"
        )
    for phrase in phrases:
        if len(phrase) > MAX_WORD_LENGTH:
            raise ValueError(
                f'expected phrases of at most {MAX_WORD_LENGTH} characters: found {len(phrase)} in "{phrase[:40]} ..."'
            )
    if len(set(phrases)) < len(phrases):
        twice = next(phrase for phrase in phrases if phrases.count(phrase) > 1)
        raise ValueError(f'the phrases must differ: found "{twice[:40]}" more than once')
    return phrases


def sentences(phrases: Sequence[str], language: str) -> tuple[str, ...]:
    """Returns what the text tower reads of phrases; `language` is a key of `TEMPLATES`."""
    return tuple(TEMPLATES[language].format(phrase) for phrase in phrases)


__all__ = [
    "ELSEWHERE_REMARK",
    "EXPLAINED",
    "TEMPLATES",
    "UNRELATED",
    "UNRELATED_REMARK",
    "Fit",
    "Yardstick",
    "phrases_of",
    "sentences",
    "stands_out",
]
