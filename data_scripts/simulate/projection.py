"""From the heart's dipole to electrodes and leads: Dower's matrix, the geometry of a patient, and the limb leads."""

from functools import lru_cache

import numpy as np

from common.electrodes import ELECTRODES, electrodes_to_leads
from data_scripts.simulate.physiology import Patient
from modeling_ecgclip.signal_ecgclip import INDEPENDENT_LEADS


# Rows: leads I, II, V1 ... V6; columns: X to the left, Y downwards, Z backwards. Dower, Machado and Osborne, "On
# deriving the electrocardiogram from vectorcardiographic leads", Clinical Cardiology 3:87 (1980).
DOWER = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
ELECTRODES_TO_LEADS = electrodes_to_leads(INDEPENDENT_LEADS).astype(np.float32)
# Potentials against Wilson's terminal, to which those of the limbs add up to nothing.
LEADS_TO_ELECTRODES = np.linalg.pinv(electrodes_to_leads(INDEPENDENT_LEADS))
RIGHT_LEG_AS_LEFT = 0.96


def rotation(frontal_deg: float, horizontal_deg: float, sagittal_deg: float) -> np.ndarray:
    """
    Rotation of the dipole: frontal plane first (positive turns the axis to the right), then horizontal, then sagittal.

    Returns:
        `np.ndarray` of shape `(3, 3)`: applied to column vectors (x, y, z).
    """
    f, h, s = np.deg2rad([frontal_deg, horizontal_deg, sagittal_deg])
    frontal = np.array([[np.cos(f), -np.sin(f), 0], [np.sin(f), np.cos(f), 0], [0, 0, 1]])
    horizontal = np.array([[np.cos(h), 0, -np.sin(h)], [0, 1, 0], [np.sin(h), 0, np.cos(h)]])
    sagittal = np.array([[1, 0, 0], [0, np.cos(s), -np.sin(s)], [0, np.sin(s), np.cos(s)]])
    return sagittal @ horizontal @ frontal


def patient_projection(patient: Patient, turn: float = 1.0) -> np.ndarray:
    """
    How this patient's chest shows the dipole.

    Args:
        patient (`Patient`): its angles, gains and deviations from Dower's matrix.
        turn (`float`): share of the patient's rotations to apply.

    Returns:
        `np.ndarray` of shape `(8, 3)`: leads I, II, V1 ... V6 from (x, y, z), mV per mV.
    """
    turned = rotation(turn * patient.frontal_deg, turn * patient.horizontal_deg, turn * patient.sagittal_deg)
    return patient.gain * patient.lead_gain[:, None] * (DOWER + patient.lead_mix) @ turned


def frontal_axis(qrs_area: np.ndarray) -> float:
    """
    Electrical axis in degrees, from net areas in leads I and II.

    Args:
        qrs_area (`np.ndarray` of shape `(8,)`): net area of the QRS in I, II, V1 ... V6.

    Returns:
        `float`: -180 to 180; 0 points to the left, 90 downwards.
    """
    lead_i, avf = qrs_area[0], qrs_area[1] - qrs_area[0] / 2
    return float(np.rad2deg(np.arctan2(2 / np.sqrt(3) * avf, lead_i)))


def twelve_leads(eight: np.ndarray) -> np.ndarray:
    """
    All twelve leads from the eight independent ones.

    Args:
        eight (`np.ndarray` of shape `(8, n)`): I, II, V1 ... V6.

    Returns:
        `np.ndarray` of shape `(12, n)`: in the order of `LEAD_NAMES`, of the same dtype.
    """
    out = np.empty((12, eight.shape[1]), dtype=eight.dtype)
    first, second = eight[0], eight[1]
    out[0], out[1] = first, second
    # As DERIVED_LEADS says, and not by it: where I = -II its sum is 0 and this is -0, which archives have always held.
    np.subtract(second, first, out=out[2])
    out[3] = -0.5 * (first + second)
    out[4] = first - 0.5 * second
    out[5] = second - 0.5 * first
    out[6:] = eight[2:]
    return out


@lru_cache(maxsize=64)
def exchange_matrix(one: str, other: str) -> np.ndarray:
    """
    What leads show where the cables of two electrodes are exchanged.

    Both legs are far from the heart and have nearly the same potential. So where a cable of an arm lies on the right
    leg, which is no part of any lead, the lead between that arm and the left leg is nearly flat, and Wilson's
    terminal, to which the chest leads refer, moves.

    Args:
        one, other (`str`): Of `ELECTRODES`, or "RL".

    Returns:
        `np.ndarray` of shape `(8, 8)`, float32: I, II, V1 ... V6 as recorded from those of the right places.
    """
    places = {name: np.eye(len(ELECTRODES))[at] for at, name in enumerate(ELECTRODES)}
    places["RL"] = RIGHT_LEG_AS_LEFT * places["LL"] + (1 - RIGHT_LEG_AS_LEFT) * places["RA"]
    recorded = places | {one: places[other], other: places[one]}
    electrodes = np.stack([recorded[name] for name in ELECTRODES])
    return (ELECTRODES_TO_LEADS @ electrodes @ LEADS_TO_ELECTRODES).astype(np.float32)
