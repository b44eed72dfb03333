"""What a pipeline is given: one ECG, or several, each with its number, so that the error of one says which it is."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from .arrays_ecgclip import is_rows_of_numbers
from .record_ecgclip import EcgRecord


@dataclass(frozen=True)
class NumberedInput:
    """
    One of several ECGs.

    Args:
        number (`int`): Its place, from 0.
        source: The ECG, as [`read_ecg`] takes it.
    """

    number: int
    source: Any

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Puts `inputs[number]` before the message of an error that is raised within; its kind stays."""
        try:
            yield
        except (ValueError, TypeError, OSError) as error:
            error.args = (f"inputs[{self.number}]: {error}",)
            raise


class NumberedInputs(Dataset):
    """
    Several ECGs by their place, each read when its turn comes.

    Args:
        sources: Anything with a length and places: a list, an array, a column or the rows of a `datasets.Dataset`, a
            `KeyDataset` of transformers.
    """

    def __init__(self, sources: Any):
        self.sources = sources

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, number: int) -> NumberedInput:
        return NumberedInput(number, self.sources[number])


def is_one_ecg(inputs: Any) -> bool:
    """
    Tells whether the input of a pipeline is one ECG and not several.

    One are a path, a dictionary, a record, an array but one with a leading batch axis, and lists of numbers, one for
    each lead or sample. All else that can be gone through is several.
    """
    if isinstance(inputs, str | Path | Mapping | EcgRecord):
        return True
    if hasattr(inputs, "ndim"):
        return bool(inputs.ndim != 3)
    return not isinstance(inputs, Iterable | Dataset) or is_rows_of_numbers(inputs)


def numbered(inputs: Any) -> NumberedInputs | Iterator[NumberedInput]:
    """Returns several ECGs with their numbers: by place where they have places, else as a generator, as they come."""
    if hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__"):
        return NumberedInputs(inputs)
    return (NumberedInput(number, source) for number, source in enumerate(inputs))


def are_streamed(inputs: Any) -> bool:
    """
    Tells whether the results of several ECGs are to come one after the other, as transformers has it: for its datasets
    and torch's, and for what has no length. All else gives a list.
    """
    return isinstance(inputs, Dataset | IterableDataset) or not hasattr(inputs, "__len__")


__all__ = ["NumberedInput", "NumberedInputs", "are_streamed", "is_one_ecg", "numbered"]
