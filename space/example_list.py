"""The example ECGs of the page: simulated, no patient; `python -m space.make_examples` writes their files."""

from dataclasses import dataclass
from pathlib import Path


FOLDER = Path(__file__).resolve().parent / "examples"


@dataclass(frozen=True)
class Example:
    """
    One example.

    Args:
        title (`str`): On its button.
        files (`tuple[str]`): In `FOLDER`.
        index (`int`): Of the simulated exam, see `make_examples`.
    """

    title: str
    files: tuple[str, ...]
    index: int

    @property
    def paths(self) -> list[Path]:
        """Where its files lie."""
        return [FOLDER / name for name in self.files]


EXAMPLES = (
    Example("Normal rhythm", ("simulated_normal.hea", "simulated_normal.dat"), 34),
    Example("Right bundle branch block, atrial fibrillation", ("simulated_rbbb_af.npz",), 220),
    Example("Left bundle branch block", ("simulated_lbbb.npz",), 244),
    Example("Sinus tachycardia", ("simulated_tachycardia.npz",), 271),
)


__all__ = ["EXAMPLES", "FOLDER", "Example"]
