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
    "inferior_scar": ("Old inferior infarction", "Inferior myocardial infarction"),
    "anteroseptal_scar": ("Old anteroseptal infarction", "Anteroseptal myocardial infarction"),
    "anterior_scar": ("Old extensive anterior infarction", "Anterior myocardial infarction"),
    "lateral_scar": ("Old infarction of the side", "Myocardial infarction of the side"),
    "posterior_scar": ("Old posterior infarction", "Posterior myocardial infarction"),
    "right_ventricle": ("Right ventricular hypertrophy", "RVH"),
    "left_atrium": ("Left atrial enlargement", "Left atrial overload"),
    "right_atrium": ("Right atrial enlargement", "Right atrial overload"),
    "left_posterior_fascicle": ("Posterior fascicular block", "LPFB"),
    "delta_wave_left": ("Ventricular pre-excitation", "Wolff-Parkinson-White"),
    "delta_wave_right": ("Ventricular pre-excitation", "Wolff-Parkinson-White"),
    "inferior_injury": ("Acute inferior infarction", "Subepicardial inferior injury"),
    "anterior_injury": ("Acute anterior infarction", "Subepicardial anterior injury"),
    "lateral_injury": ("Acute infarction of the side", "Subepicardial injury of the side"),
    "ischaemia": ("Subendocardial ischaemia", "Subendocardial injury"),
    "anterior_t": ("Anterior ischaemia",),
    "inferior_t": ("Inferior ischaemia",),
    "digitalis": ("Digitalis effect",),
    "low_potassium": ("Hypokalaemia", "Electrolyte disturbance"),
    "high_potassium": ("Hyperkalaemia", "Electrolyte disturbance"),
    "pericarditis": ("Acute pericarditis", "Pericarditis"),
    "long_qt": ("Delayed ventricular repolarisation",),
    "paced": ("Ventricular pacemaker rhythm", "Pacemaker stimulation"),
    "atrial": ("Ectopic atrial rhythm",),
    "junctional": ("Junctional rhythm", "Junctional escape rhythm"),
    "ventricular": ("Idioventricular rhythm", "Ventricular rhythm"),
    "svt": ("Supraventricular tachycardia", "Paroxysmal supraventricular tachycardia"),
    "wenckebach": ("Second degree AV block, Mobitz", "Wenckebach block"),
    "two_to_one": ("Second degree AV block", "Advanced second degree AV block"),
    "complete_block": ("Total atrioventricular block", "Complete atrioventricular block"),
    "long_qtc": ("Delayed ventricular repolarisation",),
}
CONCLUSION_RHYTHM = ("Sinus rhythm", "Normofrequent sinus rhythm")
CONCLUSION_CLEAR = (
    "Unremarkable electrocardiogram",
    "ECG free of abnormalities",
    "Electrocardiogram without abnormality",
)
CONCLUSION_TITLES = ("Conclusion:", "Conclusion:", "Conclusion:", "CONCLUSION:", "Conclusions:")
