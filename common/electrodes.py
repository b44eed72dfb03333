"""From electrodes to leads: a lead is a difference of potentials, so what disturbs an electrode shows in several."""

import numpy as np

from modeling_ecgclip.feature_extraction_ecgclip import DERIVED_LEADS


ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")  # right arm, left arm, left leg, chest
LIMB_ELECTRODES = ELECTRODES[:3]
# Einthoven's leads that the others of the limbs follow from: the electrode that is added, and the one that is taken.
MEASURED_LEADS = {"I": ("LA", "RA"), "II": ("LL", "RA")}


def electrodes_to_leads(lead_names: tuple[str, ...]) -> np.ndarray:
    """
    Returns what each electrode adds to each lead, float64 `(leads, electrodes)`.

    Args:
        lead_names (`tuple[str]`): Of the standard twelve.
    """
    return np.stack([_weights(name) for name in lead_names])


def _weights(lead: str) -> np.ndarray:
    if lead in DERIVED_LEADS:
        of_i, of_ii = DERIVED_LEADS[lead]
        return of_i * _weights("I") + of_ii * _weights("II") + 0.0  # -0 + 0 is 0
    weights = np.zeros(len(ELECTRODES))
    if lead in MEASURED_LEADS:
        added, taken = MEASURED_LEADS[lead]
        weights[ELECTRODES.index(added)], weights[ELECTRODES.index(taken)] = 1, -1
    else:
        weights[ELECTRODES.index(lead)] = 1
        weights[: len(LIMB_ELECTRODES)] = -1 / 3  # against Wilson's terminal
    return weights
