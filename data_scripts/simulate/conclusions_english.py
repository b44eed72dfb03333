"""
What English conclusions say: the tables of `conclusions`.

English has one form for a side, so "left" and "right" are in descriptions too, and so are "early" and "low"; no other
word of meaning is.
"""

CONCLUSIONS = {
    "1dAVb": ("First degree AV block", "1st degree AV block", "First-degree atrioventricular block"),
    "RBBB": ("Right bundle branch block", "Complete right bundle branch block", "RBBB"),
    "LBBB": ("Left bundle branch block", "Complete left bundle branch block", "LBBB"),
    "SB": ("Sinus bradycardia", "Bradycardic sinus rhythm"),
    "AF": ("Atrial fibrillation", "Fibrillation of the atria"),
    "ST": ("Sinus tachycardia", "Tachycardic sinus rhythm"),
    "flutter": ("Atrial flutter", "Typical atrial flutter"),
    "unclear": ("Supraventricular arrhythmia to be clarified", "Arrhythmia of unknown origin"),
    "incomplete_rbbb": ("Incomplete right bundle branch block", "Conduction delay of the right bundle branch"),
    "incomplete_lbbb": ("Incomplete left bundle branch block", "Conduction delay of the left bundle branch"),
    "conduction_delay": ("Intraventricular conduction delay", "Unspecific intraventricular conduction disturbance"),
    "ventricular_ectopics": ("Ventricular ectopics", "Ventricular extrasystoles"),
    "supraventricular_ectopics": ("Supraventricular ectopics", "Atrial extrasystoles"),
    "sinus_arrhythmia": ("Sinus arrhythmia", "Respiratory sinus arrhythmia"),
    "hypertrophy": ("Ventricular hypertrophy", "LVH"),
    "low_voltage": ("Low voltage",),
    "left_fascicle": ("Anterior fascicular block", "LAFB"),
    "repolarisation": ("Unspecific repolarisation abnormality", "Abnormal ventricular repolarisation"),
    "early_repolarisation": ("Early repolarisation",),
    "long_qtc": ("Delayed ventricular repolarisation",),
}
CONCLUSION_RHYTHM = ("Sinus rhythm", "Normofrequent sinus rhythm")
CONCLUSION_CLEAR = (
    "Unremarkable electrocardiogram",
    "ECG free of abnormalities",
    "Electrocardiogram without abnormality",
)
CONCLUSION_TITLES = ("Conclusion:", "Conclusion:", "Conclusion:", "CONCLUSION:", "Conclusions:")
