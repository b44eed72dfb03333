"""What is particular to one kind of run: what its folder holds and serves, and what its card says."""

import abc
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar


if TYPE_CHECKING:
    from publishing.run_folder import RunFolder


Table = dict[str, str]  # of a card: title, rows, note


class Stage(abc.ABC):
    """
    One kind of run. The methods return Markdown, or parts of it, for the run that they are given.

    Attributes:
        name (`str`): What a run's record calls it: `"classification"` or `"contrastive"`.
        task, task_title (`str`): Of evaluation results on the Hub.
        pipeline (`str`): What answers with the model.
        needed (`tuple[str]`): Files of a finished run, besides those that every run has.
        needed_with (`dict[str, tuple[str]]`): Those that it has besides where it had a validation or a test split.
        tags, metrics (`tuple[str]`): Of the card's metadata; metrics are those of hf.co/metrics.
        figures (`dict[str, str]`): Pictures that a run may hold, and their captions.
        serves_page (`bool`): Whether the Space can run the model.
    """

    name: ClassVar[str]
    task: ClassVar[str]
    task_title: ClassVar[str]
    pipeline: ClassVar[str]
    needed: ClassVar[tuple[str, ...]]
    needed_with: ClassVar[dict[str, tuple[str, ...]]]
    tags: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[tuple[str, ...]]
    figures: ClassVar[dict[str, str]]
    serves_page: ClassVar[bool] = False

    def files(self, splits: Collection[str]) -> list[str]:
        """Returns the files of a finished run that had these splits, besides those that every run has."""
        return [*self.needed, *(name for split in splits for name in self.needed_with.get(split, ()))]

    @abc.abstractmethod
    def summary(self, run: "RunFolder") -> str:
        """Returns what the model is, in a few sentences."""

    @abc.abstractmethod
    def snippet(self, run: "RunFolder") -> list[str]:
        """Returns lines of Python that show the result of the pipeline `read` for the array `ecg`."""

    @abc.abstractmethod
    def use_note(self, run: "RunFolder") -> str:
        """Returns what else the folder offers, behind what the pipelines read."""

    @abc.abstractmethod
    def results(self, run: "RunFolder") -> tuple[str, list[Table]]:
        """Returns how the test split's numbers came about, and tables of them."""

    @abc.abstractmethod
    def main_result(self, run: "RunFolder") -> tuple[float | None, str]:
        """Returns the one number of the test split that stands for the run, and what it is."""

    @abc.abstractmethod
    def eval_results(self, run: "RunFolder") -> Iterator[tuple[str, str, float | None]]:
        """Yields metric, title and value of what the metadata say of the test split."""

    @abc.abstractmethod
    def intended(self, run: "RunFolder") -> str:
        """Returns what the model is for, where its exams are recorded."""

    @abc.abstractmethod
    def loss_rows(self, arguments: dict[str, Any]) -> list[list[str]]:
        """Returns rows of the training table: the loss, and what comes with it."""

    @abc.abstractmethod
    def out_of_scope(self, run: "RunFolder") -> list[str]:
        """Returns what the model is not for, besides what none is for."""

    @abc.abstractmethod
    def limits(self, run: "RunFolder") -> list[str]:
        """Returns the limits that runs of this kind have, and those that this run's numbers show."""

    def counted_as(self, run: "RunFolder") -> str:
        """Returns what the table of exams counts for each output."""
        return "the positives of each label"

    def data_details(self, run: "RunFolder") -> list[str]:
        """Returns further sentences about the exams."""
        return []

    def base_models(self, run: "RunFolder") -> list[str]:
        """Returns names of models, besides the one that training started from, that this one is made of."""
        return []

    def texts_seen(self, run: "RunFolder") -> list[Mapping[str, Any]]:
        """Returns what was counted in the reports that this run itself, and not one before it, was trained on."""
        return []
