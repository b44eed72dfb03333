import re
from dataclasses import replace

import numpy as np
import pytest

from modeling_ecgclip import LEAD_NAMES, EcgRecord
from space.sketch import averaged_beat, beats_on_paper, strip


RATE = 400


@pytest.fixture(scope="module")
def analysis(analyser, signal):
    return analyser.analyse(EcgRecord(signal, RATE, LEAD_NAMES, "mV", "ecg.npy"))


def test_averaged_beat_is_that_of_the_recording(analysis, signal):
    beat = averaged_beat(analysis, at_onset=False)
    assert beat.n_beats >= 8 and beat.lead_names == LEAD_NAMES
    # A beat a second: each of them, and so their median, is what the fixture wrote around its peak.
    peak = int(np.argmax(beat.mv[9]))
    around = slice(peak - 30, peak + 31)
    written = signal[:, 5 * RATE + 200 - 30 : 5 * RATE + 200 + 31]
    np.testing.assert_allclose(np.diff(beat.mv[:, around]), np.diff(written), atol=0.01)
    assert abs(beat.seconds[peak]) < 0.03


def test_beats_of_a_later_recording_lie_on_each_other(analyser, analysis, signal):
    shifted = analyser.analyse(EcgRecord(signal[:, 123:], RATE, LEAD_NAMES, "mV", "later.npy"))
    first, second = averaged_beat(analysis), averaged_beat(shifted)
    assert abs(first.mv[9].argmax() - second.mv[9].argmax()) <= 1
    begins = first.seconds[first.mv[9] > 0.1 * first.mv[9].max()][0]
    assert -0.02 < begins < 0.06  # behind the onset, which is 0


def test_fast_rhythms_show_one_beat(analyser, signal):
    fast = analyser.analyse(EcgRecord(signal, 2 * RATE, LEAD_NAMES, "mV", "fast.npy"))
    beat = averaged_beat(fast)
    assert beat.seconds[-1] - beat.seconds[0] <= 0.51
    high = np.flatnonzero(beat.mv[9] > 0.5 * beat.mv[9].max())
    assert len(high) == np.ptp(high) + 1


def test_what_is_missing_is_said(analyser, analysis, signal):
    limb = analyser.analyse(EcgRecord(signal[:6], RATE, LEAD_NAMES[:6], "mV", "limb.npy"), (), False, True)
    beat = averaged_beat(limb)
    assert beat.lead_names == LEAD_NAMES[:6]
    drawn = str(beats_on_paper(averaged_beat(analysis), beat, LEAD_NAMES))
    assert re.findall(r'data-lead="(\w+)"', drawn) == list(LEAD_NAMES)
    assert drawn.count("none of the new one") == 2 * 6  # beside the lead, and for those who cannot see it
    without = replace(limb.measurements, beat_kinds=["cut_off"] * len(limb.measurements.beat_kinds))
    assert averaged_beat(replace(limb, measurements=without)) is None
    assert str(beats_on_paper(None, None, LEAD_NAMES)).count("none of the earlier and new one") == 24


def test_strip_is_small_and_holds_the_highest_samples(analysis, signal):
    drawn = str(strip(analysis))
    assert len(drawn) < 5_000 and 'aria-label="lead II"' in drawn
    y = np.array(re.findall(r"[ML][\d.]+ (-?[\d.]+)", drawn), dtype=float)
    assert (y.max() - y.min()) / 20 == pytest.approx(np.ptp(signal[1]), abs=0.02)
