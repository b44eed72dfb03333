"""Random streams of the simulator: one per purpose and item, so that nothing depends on who works on what, or when."""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for. Numbers are part of the simulator's definition: changing one changes every cohort."""

    PLAN = 0
    PATIENT = 1
    EXAM = 2
    RHYTHM = 3
    MORPHOLOGY = 4
    NOISE = 5
    READER = 6
    TEXT = 7
    TABLE = 8
    ORDER = 9
    REPORT_READER = 10
    PATIENT_FINDINGS = 11
    EXAM_FINDINGS = 12


def stream(seed: int, purpose: Purpose, index: int) -> np.random.Generator:
    """
    Independent random generator of one item.

    Args:
        seed (`int`): of the cohort, 0 or more.
        purpose (`Purpose`): what the draws are for; signal and text of one exam never share a stream.
        index (`int`): of the exam, patient or block, 0 or more.

    Returns:
        `np.random.Generator`: the same one for the same three numbers in any process.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(int(purpose), index))))
