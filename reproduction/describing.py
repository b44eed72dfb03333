"""How the cells were trained, in words, for the head of the tables."""

from collections.abc import Sequence
from typing import Any

from common.files import public_name
from reproduction.jobs import starts_to_make
from reproduction.recipes import Recipe
from reproduction.settings import ARMS, SETTINGS, TRAINED_TEXT


CHOICES_OF_OURS = (
    "The paper states neither batch size, learning rate, number of epochs nor temperature: all these are choices of "
    "this project. So are the symmetric loss (both directions; the paper's is the cross-entropy of the diagonal) and "
    "the learned temperature."
)


def recipe_lines(
    preset: str,
    recipe: Recipe,
    settings: Sequence[str],
    sizes: dict[str, int],
    text_model: str | None,
    encoder: str | None,
) -> list[str]:
    """
    Returns what decides the numbers, a line for each part.

    Args:
        preset (`str`), recipe (`Recipe`): With what the command line changed.
        settings (`list[str]`): That were run.
        sizes (`dict[str, int]`): Exams of each split.
        text_model, encoder (`str`, *optional*): As they were named; None where they were made.
    """
    steps = ", ".join(
        f"{SETTINGS[name].title} {recipe.steps(SETTINGS[name].n_training_exams(sizes)):,}" for name in settings
    )
    lines = [
        f"Preset {preset}: encoder `{recipe.encoder_preset}`, seeds {', '.join(map(str, recipe.seeds))}.",
        f"Fine-tuning, all arms alike: AdamW, learning rate {recipe.learning_rate:g} (linear heads "
        f"{recipe.head_learning_rate:g}), {recipe.batch_size} exams a step, {_flags(recipe.flags)}. A run ends after "
        f"{recipe.patience} validations without a better one, or at the latest after: {steps} steps, with "
        f"{recipe.evaluations} validations.",
        f"Augmentation of stage 1, and in fine-tuning of the arms that say so: {', '.join(recipe.augment) or 'none'}.",
    ]
    starts = starts_to_make(recipe.arms, encoder is not None)
    if encoder is not None:
        lines.append(f"Encoder pre-trained on reports: `{public_name(encoder)}`, given, the same for all seeds.")
    if starts:
        centred = recipe.pretrain_flags.get("center_text", False)
        lines += [
            f"Stage 1, once for each seed, on the training split's reports: {recipe.pretrain_batch_size} exams a "
            f"step, {recipe.pretrain_steps(sizes['train']):,} steps, peak learning rate "
            f"{recipe.pretrain_learning_rate:g}, {_flags(recipe.pretrain_flags)}.",
            f"Text model of stage 1: {_text_models(recipe, text_model, [start.text for start in starts])}. Text "
            f"embeddings are {'centred' if centred else 'not centred'} unless the arm says otherwise.",
            CHOICES_OF_OURS,
        ]
    if any(ARMS[arm].frozen for arm in recipe.arms):
        lines.append("The paper has no linear heads.")
    for name, flags in recipe.changed.items():
        lines.append(f"Changed by --{name}: {_flags(flags)}.")
    return lines


def _text_models(recipe: Recipe, text_model: str | None, kinds: Sequence[str]) -> str:
    parts = []
    if any(kind != TRAINED_TEXT for kind in kinds):
        random = "a small BERT with random weights, its vocabulary from the training split's reports"
        parts.append(random if text_model is None else f"`{public_name(text_model)}`")
    if TRAINED_TEXT in kinds:
        parts.append(
            f"for the arms that say so, a small BERT that learned masked words of the training split's reports in "
            f"{recipe.masked_word_steps:,} steps"
        )
    return "; ".join(parts)


def _flags(flags: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in flags.items()) or "no further flags"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
