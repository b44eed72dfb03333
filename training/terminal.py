"""What a training shows in a terminal: its own lines, and no report of what is no news."""

import logging
import re
from collections.abc import Mapping

from datasets.utils.logging import disable_progress_bar
from transformers.utils import logging as transformers_logging


HTTP_CLIENTS = ("httpx", "httpx2")  # they log every request
RANK = re.compile(r"\[RANK \d+\] ")  # accelerate puts it before each line, although the main process alone speaks
# What transformers reports of weights that it loaded, and the rows of it that can be a fault. Weights that it did not
# expect are the rest of a folder of which a part was asked for; a head is new, and a text encoder's pooler not used.
REPORT = "LOAD REPORT"
FAULTS = re.compile(r"^(?!classifier\.|pooler\.)[^|\n]+\|[^|\n]*(?:MISSING|MISMATCH|CONVERSION)", re.MULTILINE)
# Of the many results of a validation, those that tell how it goes; history.json has all.
SHOWN = re.compile(r"loss|\w+_recall_at_10|\w+_median_rank|zero_shot\w*_auroc_mean")


class Plain(logging.Formatter):
    """Time and message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line without the rank."""
        return RANK.sub("", super().format(record), count=1)


def is_news(record: logging.LogRecord) -> bool:
    """Returns whether a line of transformers is to be shown."""
    message = record.getMessage()
    return REPORT not in message or FAULTS.search(message) is not None


def set_up_logging(is_main_process: bool) -> None:
    """
    Sets up the log of a training.

    Args:
        is_main_process (`bool`): Others show no progress bars.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Plain())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    for quiet in (*HTTP_CLIENTS, "datasets", "evaluate", "accelerate"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    logging.getLogger("transformers.modeling_utils").addFilter(is_news)
    transformers_logging.disable_progress_bar()  # loading and saving weights, which takes a moment
    if not is_main_process:
        disable_progress_bar()


def validation_line(step: int, results: Mapping[str, float]) -> str:
    """
    Returns what is shown of a validation.

    Args:
        step (`int`): After which it was.
        results (`Mapping[str, float]`): Of `evaluate` of a task.
    """
    shown = ", ".join(f"{name} {value:.4f}" for name, value in results.items() if SHOWN.fullmatch(name))
    return f"step {step}, validation: {shown}"
