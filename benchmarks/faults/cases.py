"""What an arm does: cases, each with an outcome."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """
    What came of a case.

    Args:
        faults (`list[str]`): What should not be; none where all went as promised.
        said (`str`): What the command said, in one line.
    """

    faults: list[str]
    said: str = ""

    @property
    def is_good(self) -> bool:
        """Whether all went as promised."""
        return not self.faults


@dataclass(frozen=True)
class Case:
    """
    One fault.

    Args:
        arm (`str`): To which it belongs.
        what (`str`): The job, or the kind of file, that it hits: a row of the table.
        how (`str`): What is done, so that it can be done again.
        run (`Callable`): Does it, and tells what came of it.
    """

    arm: str
    what: str
    how: str
    run: Callable[[], Outcome]


def table_rows(done: Iterable[tuple[Case, Outcome]]) -> list[tuple[str, str, str, str]]:
    """Returns the rows of the table of outcomes, the head first: arm, what, how many of how many went well, faults."""
    cells: dict[tuple[str, str], list[Outcome]] = {}
    for case, outcome in done:
        cells.setdefault((case.arm, case.what), []).append(outcome)
    rows = [("arm", "what", "as promised", "what was not")]
    for (arm, what), outcomes in cells.items():
        good = sum(outcome.is_good for outcome in outcomes)
        faults = sorted({fault for outcome in outcomes for fault in outcome.faults})
        rows.append((arm, what, f"{good} of {len(outcomes)}", "; ".join(faults)))
    return rows
