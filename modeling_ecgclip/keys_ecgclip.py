"""The usual names under which files state sampling rate, unit and leads: keys of archives, lines above a table."""

import re


# Folded: lower case, letters and digits only. "fs_hz" and "Sampling rate (Hz)" lose their "hz".
_RATES = "samplingrate samplerate samplingfrequency samplefrequency samplingfreq samplefreq fs sfreq srate sr sf rate "
_RATES += "hz freq frequency"
_UNITS = "unit units ecgunit ecgunits signalunit signalunits amplitudeunit amplitudeunits voltageunit physicalunit"
_LEADS = "leadnames leadname leads lead leadorder leadlabels channels channel channelnames channelname channellabels "
_LEADS += "chnames chname signames signame signalnames names columns"
_FACT_OF_KEY = {
    **dict.fromkeys(_RATES.split(), "sampling_rate"),
    **dict.fromkeys(_UNITS.split(), "unit"),
    **dict.fromkeys(_LEADS.split(), "lead_names"),
}


def fact_of(key: str) -> str | None:
    """Returns `"sampling_rate"`, `"unit"` or `"lead_names"` for a usual name of it, and `None` for any other."""
    folded = re.sub(r"[^a-z0-9]", "", key.lower())
    return _FACT_OF_KEY.get(folded) or _FACT_OF_KEY.get(folded.removesuffix("hz"))


__all__ = ["fact_of"]
