"""What a visitor reads where something went wrong."""

import logging
import traceback


logger = logging.getLogger(__name__)


def sentence_of(error: BaseException) -> str:
    """
    Returns one sentence: what is wrong with an ECG or a phrase, or else that it is not the visitor's fault, and then
    the server's log says where it failed, but nothing of what the ECG holds.
    """
    if isinstance(error, ValueError | TypeError | FileNotFoundError | TimeoutError):
        return str(error)
    where = [f"{frame.name}, line {frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    logger.error("a click failed: %s in %s", type(error).__name__, where[-1] if where else "no line of code")
    return "this could not be done; the server's log says where it failed"


__all__ = ["sentence_of"]
