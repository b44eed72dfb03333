"""Cells of tables that stand for nothing."""

import pandas as pd


# What tables write where they have nothing.
NOTHING = frozenset(("", "na", "n/a", "nan", "null", "none", "nil", "-", "--", "."))


def blanked(cells: pd.Series) -> pd.Series:
    """Returns text cells without blanks around them, and as `""` those that stand for nothing: NA, nan, NULL, -."""
    cells = cells.str.strip()
    return cells.where(~cells.str.lower().isin(NOTHING), "")
