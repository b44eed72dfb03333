"""A source of forty exams of noise in two parts, for tests of the run of a conversion."""

import numpy as np
import pandas as pd

from data_scripts.conversion.builder import EcgBuilder, ExamPlan
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.reading_ecgclip import EcgRecord
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


class Noise(EcgBuilder):
    """The source; subclasses misbehave."""

    patients = [str(i) for i in range(40)]
    found = 40
    located = False  # whether each exam has files of its own

    def plan(self):
        columns = {
            "exam_id": [str(i) for i in range(40)],
            "patient_id": self.patients,
            "split": ["train", "validation", "test", "train"] * 10,
            "age": np.nan,
            "sex": None,
            "report": None,
            "part": ["a"] * 20 + ["b"] * 20,
            "location": [f"{'ab'[i // 20]}/{i}" if self.located else "" for i in range(40)],
        }
        exams = pd.DataFrame(columns | dict.fromkeys(LABEL_NAMES, -1))
        return ExamPlan(exams, "noise", self.found, facts={"source": "noise"})

    def read_recordings(self, exams):
        for exam in exams:
            noise = np.random.default_rng(int(exam["exam_id"])).normal(size=(12, 1000))
            yield EcgRecord(noise, 400, LEAD_NAMES, "mV", exam["exam_id"])
