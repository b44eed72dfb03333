"""How the runs came to rest, for tables."""

from collections.abc import Sequence
from dataclasses import asdict

from reproduction.formatting import Row, shown, span
from reproduction.results import Convergence, Results, summarize
from reproduction.settings import ARMS, SETTINGS


def convergence_rows(results: Results) -> list[Row]:
    """Of each run, stage 1 included, which has no setting."""
    rows: list[Row] = [
        {"stage": 1, "setting": None, "arm": one.start, "seed": one.seed, **asdict(one.convergence)}
        for one in results.pretrainings
    ]
    rows += [
        {"stage": 2, "setting": cell.setting, "arm": cell.arm, "seed": cell.seed, **asdict(cell.convergence)}
        for cell in results.cells.values()
    ]
    return rows


def shown_convergence(results: Results) -> list[Row]:
    """Of fine-tuning, the seeds of a setting and arm in one row."""
    rows = []
    for setting in results.settings:
        for arm in results.arms:
            cells = results.of(setting, arm)
            if cells:
                which = {"setting": SETTINGS[setting].title, "arm": ARMS[arm].title}
                rows.append({**which, **_of_seeds([cell.convergence for cell in cells])})
    return rows


def shown_pretraining(results: Results) -> list[Row]:
    """Of stage 1, the seeds of a start in one row."""
    starts = dict.fromkeys(one.start for one in results.pretrainings)
    return [
        {"stage 1": start, **_of_seeds([one.convergence for one in results.pretrainings if one.start == start])}
        for start in starts
    ]


def _of_seeds(found: Sequence[Convergence]) -> Row:
    converged = sum(one.converged for one in found)
    return {
        "steps": span([one.steps for one in found]),
        "best step": span([one.best_step for one in found]),
        "training loss at the end": shown(summarize([one.train_loss for one in found]), 4),
        "lowest validation loss": shown(summarize([one.best_eval_loss for one in found]), 4),
        "last validation loss": shown(summarize([one.last_eval_loss for one in found]), 4),
        "late gain": f"{100 * (summarize([one.late_gain for one in found]).mean or 0):.1f} %",
        "converged": "yes" if converged == len(found) else f"not converged ({len(found) - converged} of {len(found)})",
    }
