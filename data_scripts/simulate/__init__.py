"""
Simulated 12-lead ECGs with Portuguese reports, in the layout of CODE-15%.

Everything made here is simulated: no value stems from a patient. `simulate_exam` makes one exam,
`write_cohort` a folder.
"""

from data_scripts.simulate.cohort import CohortSettings, write_cohort
from data_scripts.simulate.exam import Measurements, SimulatedExam, simulate_exam


__all__ = ["CohortSettings", "Measurements", "SimulatedExam", "simulate_exam", "write_cohort"]
