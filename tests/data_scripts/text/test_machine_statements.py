"""Findings of an electrocardiograph's statements, without diagnoses. The statements are those of MIMIC-IV-ECG."""

import pytest

from data_scripts.text.machine_statements import DIAGNOSIS, describe, finding


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("Left axis deviation", "Left axis deviation"),
        ("Low QRS voltages in precordial leads", "Low QRS voltages in precordial leads"),
        ("Prolonged PR interval", "Prolonged PR interval"),
        ("Borderline prolonged QT interval", "Borderline prolonged QT interval"),
        ("Lateral T wave changes are nonspecific", "Lateral T wave changes are nonspecific"),
        ("Ventricular premature complex", "Ventricular premature complex"),
        # A cause, or how sure the machine is, is cut off.
        ("Inferior/lateral ST-T changes may be due to myocardial ischemia", "Inferior/lateral ST-T changes"),
        ("Poor R wave progression - cannot rule out anteroseptal infarct", "Poor R wave progression"),
        ("QRS changes V3/V4 may be due to LVH but cannot rule out anterior infarct", "QRS changes V3/V4"),
        ("Inferior ST elevation, CONSIDER ACUTE INFARCT", "Inferior ST elevation"),
        ("Anterior Q waves, possibly due to ILBBB", "Anterior Q waves"),
        ("Lateral ST-T changes are probably due to ventricular hypertrophy", "Lateral ST-T changes"),
        # Of a rhythm with a finding the finding stays.
        ("Sinus rhythm with PVC(s)", "PVC(s)"),
        *(
            (f"{rhythm} with PVCs", "PVCs")
            for rhythm in ("NSR", "a fib", "A-fib", "AF", "aflutter", "S-tach", "vtach")
        ),
        # So it does of a list, in which a diagnosis takes its own item with it.
        *(
            (f"{rhythm}, PVC", "PVC")
            for rhythm in ("afib", "AFIB/flutter", "Sinus brady", "bigeminy", "2nd degree AV")
        ),
        *((f"{block}, wide QRS", "wide QRS") for block in ("RBBB pattern", "IVCD", "LBBB", "AV dissociation", "BBB")),
        ("old AMI, Q waves", "Q waves"),
        # Extra beats, by any of their short names.
        *((beats, beats) for beats in ("PAC", "PACs", "VPC", "VPCs", "APBs", "PJC", "PVC couplets")),
        # "degree" and "AV" as parts of something else.
        ("QRS axis -30 degrees", "QRS axis -30 degrees"),
        ("T wave inversion in aVL and aVF", "T wave inversion in aVL and aVF"),
        ("Abnormal R-wave progression, early transition", "Abnormal R-wave progression, early transition"),
    ],
)
def test_findings_stay(statement, expected):
    assert finding(statement) == expected
    assert not DIAGNOSIS.search(expected.lower())


@pytest.mark.parametrize(
    "statement",
    [
        *("Sinus rhythm", "Sinus rhythm.", "Sinus tachycardia", "Sinus bradycardia", "Wide QRS tachycardia"),
        *("Atrial fibrillation", "Atrial fibrillation with rapid ventricular response", "Electronic atrial pacing"),
        *("Right bundle branch block", "RBBB with left anterior fascicular block", "Left bundle branch block"),
        *("Sinus rhythm with borderline 1st degree A-V block", "- first degree A-V block", "IV conduction defect"),
        *("Inferior infarct - age undetermined", "*** CONSIDER ACUTE ST ELEVATION MI ***", "Early repolarization"),
        *("Left ventricular hypertrophy", "LVH with secondary repolarization abnormality", "Biatrial enlargement"),
        *("Possible left atrial abnormality", "Normal ECG", "Abnormal ECG", "Borderline ECG", "Report not available"),
        *("Normal ECG except for rate", "--- Suspect limb lead reversal - only V1-V6 analyzed ---", ""),
        *(
            "afib",
            "a-fib",
            "AF",
            "aflutter",
            "a-flutter",
            "atrial fib/flut",
            "v-fib",
            "SVT",
            "sinus tach",
            "brady, NOS",
        ),
        *("1st deg AV", "1st degree", "First-degree AV delay, AV", "2nd degree QRS drop", "III degree", "CHB", "AVB"),
        *("left bundle branch QRS pattern", "right bundle QRS", "LBBB-like QRS", "RBBB pattern", "iRBBB", "BBB QRS"),
        *(
            "IVCD",
            "intraventricular delay of QRS",
            "QRS conducted aberrantly",
            "trifascicular QRS",
            "LAFB",
            "hemi-block",
        ),
        *(
            "bigeminy",
            "PVCs in trigeminy",
            "Quadrigeminy PVC",
            "blocked PAC",
            "AMI",
            "old ASMI, infarcted",
            "isch T waves",
        ),
        *(
            "P mitrale",
            "P-pulmonale",
            "RAA P waves",
            "BVH QRS",
            "pacer spikes before QRS",
            "WPW QRS",
            "LV dilatation QRS",
        ),
        "Age not entered, assumed to be 50 years old for purpose of ECG interpretation",
    ],
)
def test_diagnoses_grades_and_remarks_go(statement):
    assert finding(statement) == ""


def test_a_report_says_each_finding_once_in_order():
    statements = ["Sinus rhythm", "Left axis deviation", "", "LVH", "Left axis deviation.", "Prolonged QT interval"]
    assert describe(statements) == "Left axis deviation. Prolonged QT interval."
    assert describe(["Sinus rhythm", "Normal ECG"]) == "" == describe([])
