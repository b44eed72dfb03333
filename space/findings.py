"""What a model said of an ECG, in the order and the words in which page and reports show it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modeling_ecgclip.labels_ecgclip import Label, labels_of


MANY = 12  # more findings are not shown at once
FIRST = 8  # of many, those that are, unless more are positive or undecided
UNDECIDED = "undecided"  # where the model abstains
_RANKS = {"positive": 0, UNDECIDED: 1}  # of many, what stands before the others


@dataclass(frozen=True)
class Finding:
    """
    One output of the model.

    Args:
        label (`Label`): Its name and title.
        score (`float`): A probability; of a regression the value itself.
        threshold (`float`, *optional*), positive (`bool`, *optional*): Of models that decide on each label.
        decision (`str`, *optional*): Of models that may abstain, as the pipeline says it.
        bounds (`tuple[float, float]`, *optional*): The probabilities between which such a model abstains.
    """

    label: Label
    score: float
    threshold: float | None = None
    positive: bool | None = None
    decision: str | None = None
    bounds: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """The label's name."""
        return self.label.name

    @property
    def title(self) -> str:
        """What people read: the label's title as it begins a line, or its name."""
        title = self.label.title
        return title if title == self.name else title[:1].upper() + title[1:]

    @property
    def verdict(self) -> str | None:
        """
        What is said of it: "positive", "negative", or "undecided" where the model abstains; None of other outputs.

        A model that may abstain decides by its bounds and not by its threshold.
        """
        if self.decision is not None:
            return UNDECIDED if self.decision == "uncertain" else self.decision
        if self.positive is None:
            return None
        return "positive" if self.positive else "negative"

    @property
    def is_called(self) -> bool:
        """Whether the model says that it is there."""
        return self.verdict == "positive"

    def limit(self, digits: int) -> str:
        """Returns what the verdict follows from: the probability that is reached or not, or between which it lies."""
        low, high = (self.threshold or 0,) * 2 if self.bounds is None else self.bounds
        if self.verdict == UNDECIDED:
            return f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %"
        return (
            f"\N{GREATER-THAN OR EQUAL TO} {100 * high:.{digits}f} %"
            if self.is_called
            else f"< {100 * low:.{digits}f} %"
        )


@dataclass(frozen=True)
class Findings:
    """
    All outputs of a model for one ECG.

    Args:
        problem_type (`str`): transformers' name of what they are; see [`EcgForSignalClassification`].
        entries (`tuple[Finding]`):
            In the order of showing: the most probable first, of many labels the positive ones and then the undecided
            before the others, and values as the model has them.
    """

    problem_type: str
    entries: tuple[Finding, ...]

    @classmethod
    def of(cls, results: Iterable[Mapping[str, Any]], config: Any) -> "Findings":
        """
        Returns the findings in what the pipeline `ecg-classification` gives.

        Args:
            results (`list[dict]`): Of one ECG, all labels.
            config (`PreTrainedConfig`): The model's.
        """
        labels = labels_of(config)
        limits = [None] * len(labels) if config.thresholds is None else config.thresholds
        abstention = getattr(config, "abstention", None) or {"low": [None] * len(labels), "high": [None] * len(labels)}
        by_name = {one["label"]: one for one in results}
        entries = []
        for label, threshold, low, high in zip(labels, limits, abstention["low"], abstention["high"], strict=True):
            one = by_name[label.name]
            bounds = None if low is None or high is None else (low, high)
            entries.append(Finding(label, one["score"], threshold, one.get("positive"), one.get("decision"), bounds))
        if config.problem_type != "regression":
            entries.sort(key=lambda finding: -finding.score)
        if len(entries) > MANY:
            entries.sort(key=lambda finding: _RANKS.get(finding.verdict or "", len(_RANKS)))
        return cls(config.problem_type, tuple(entries))

    @property
    def are_values(self) -> bool:
        """Whether they are numbers without probabilities."""
        return self.problem_type == "regression"

    @property
    def decided(self) -> bool:
        """Whether each is positive or negative."""
        return self.entries[0].threshold is not None

    @property
    def chosen(self) -> Finding | None:
        """Of a model that names one label, the one that it names."""
        return self.entries[0] if self.problem_type == "single_label_classification" else None

    @property
    def caption(self) -> str:
        """What stands above them."""
        if self.are_values:
            return "Values"
        if self.chosen is not None:
            return f"One of {len(self.entries)} findings: together they make 100 %"
        return "Findings"

    @property
    def sides(self) -> tuple[str, str]:
        """What a mark on the tracing did to the output: its words for the two colours."""
        return ("raises", "lowers") if self.are_values else ("for", "against")

    @property
    def first(self) -> tuple[Finding, ...]:
        """Those to be shown: all, or of many the first and every positive or undecided one."""
        n_ranked = sum(finding.verdict in _RANKS for finding in self.entries)
        return self.entries if len(self.entries) <= MANY else self.entries[: max(FIRST, n_ranked)]

    @property
    def others(self) -> tuple[Finding, ...]:
        """Those behind the first."""
        return self.entries[len(self.first) :]

    def shown(self, finding: Finding, digits: int = 1) -> str:
        """Returns a finding's number as people read it, probabilities with so many digits."""
        return f"{finding.score:.4g}" if self.are_values else f"{100 * finding.score:.{digits}f} %"

    def to_list(self) -> list[dict[str, Any]]:
        """Returns what the JSON file holds of each."""
        found = []
        for finding in self.entries:
            one: dict[str, Any] = {"label": finding.name, "title": finding.label.title}
            one["value" if self.are_values else "score"] = finding.score
            if finding.positive is not None:
                one |= {"positive": finding.positive, "threshold": finding.threshold}
            if finding.decision is not None:
                one["decision"] = finding.decision
            found.append(one)
        return found


__all__ = ["UNDECIDED", "Finding", "Findings"]
