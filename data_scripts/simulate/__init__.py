"""
Simulated 12-lead ECGs with Portuguese reports, in the layout of CODE-15%.

Everything made here is simulated: no value stems from a patient. `exam.simulate_exam` makes one exam,
`cohort.write_cohort` a folder.
"""
