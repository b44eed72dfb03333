import json

import numpy as np
import pytest

from benchmarks.measure.odd import DAMAGES, odd_ecgs
from data_scripts.simulate.exam import simulate_exam
from modeling_ecgclip import EcgMeasurements, measure_ecg, measure_ecgs
from modeling_ecgclip.measurements_ecgclip import MEASURES
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from modeling_ecgclip.waves_ecgclip import OFFSET, ONSET, QRS, P, T
from tests.modeling_ecgclip import measured_beats as known


INTERVALS = ("pr_ms", "qrs_ms", "qt_ms", "p_ms", "qrs_all_leads_ms")


def same(one: EcgMeasurements, other: EcgMeasurements, most: float = 1.0) -> None:
    """Both have the same measures, none further apart than `most`."""
    for name in (*MEASURES, *INTERVALS):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        assert a is None or a == pytest.approx(b, abs=most), name


@pytest.fixture(scope="module")
def signal():
    return known.ecg()


@pytest.fixture(scope="module")
def measured(signal):
    return measure_ecg(signal, 500)


class TestKnownBeats:
    def test_rate_and_intervals(self, measured):
        assert measured.heart_rate_bpm == pytest.approx(75, abs=0.1)
        assert measured.rr_sd_ms < 3
        # A bump begins more softly than a heart's wave: what is seen of it is shorter at both ends.
        assert measured.pr_ms == pytest.approx(known.PR_MS, abs=12)
        assert measured.qrs_ms == pytest.approx(known.QRS_MS, abs=10)
        assert measured.qt_ms == pytest.approx(known.QT_MS, abs=16)

    def test_marks_of_each_beat(self, measured):
        assert measured.marks_s.shape == (len(measured.beats_s), 12, 3, 3)
        whole = measured.marks_s[1:-1]
        peaks = np.arange(0.5, 10, 0.8)[1:-1]
        for wave, point, at in (
            (P, ONSET, known.P_ON),
            (P, OFFSET, known.P_OFF),
            (QRS, ONSET, known.QRS_ON),
            (QRS, OFFSET, known.QRS_OFF),
            (T, OFFSET, known.T_OFF),
        ):
            error = whole[:, :, wave, point] - (peaks + at)[:, None]
            assert np.abs(np.median(error)) < 0.016 and np.abs(error).max() < 0.05, (wave, point)

    def test_axes_and_amplitudes(self, measured):
        assert measured.p_axis_deg == pytest.approx(known.AXIS_DEG, abs=3)
        time = np.arange(-0.045, 0.045, 0.001)
        one, two = known.beat(time)[:2].sum(axis=1)
        assert measured.qrs_axis_deg == pytest.approx(np.degrees(np.arctan2((2 * two - one) / 3**0.5, one)), abs=3)
        r_mv = np.where(known.gains() > 0, known.gains(), 0)
        assert measured.amplitudes["r_mv"][r_mv > 0] == pytest.approx(r_mv[r_mv > 0], rel=0.05)
        gain = known.FRONTAL["I"]
        assert measured.amplitudes["q_mv"][0] == pytest.approx(-known.Q_SHARE * gain, abs=0.02)
        assert measured.amplitudes["s_mv"][0] == pytest.approx(-known.S_SHARE * gain, abs=0.02)
        assert measured.amplitudes["t_mv"][0] == pytest.approx(0.3, abs=0.02)
        assert measured.amplitudes["p_mv"][0] == pytest.approx(0.15 * gain, abs=0.02)
        assert np.abs(measured.amplitudes["st_j60_mv"]).max() < 0.03

    def test_rhythm(self, measured):
        assert measured.rhythm.p_before_qrs >= 0.9 and measured.rhythm.p_likeness > 0.95
        assert measured.rhythm.pp_ms == pytest.approx(800, abs=2)
        assert measured.rhythm.irregularity < 0.01
        assert measured.rhythm.ectopic_beats == measured.rhythm.paced_beats == 0

    def test_what_is_there_has_a_quality_and_what_is_not_a_reason(self, measured):
        assert set(measured.quality) == set(MEASURES) and not measured.reasons
        assert all(0.5 < value <= 1 for value in measured.quality.values())


class TestInvariance:
    def test_shift(self, signal, measured):
        later = measure_ecg(signal[:, 137:], 500)
        same(measured, later, 3)
        assert later.beats_s[1:4] == pytest.approx(measured.beats_s[1:4] - 137 / 500, abs=0.003)

    def test_scale(self, signal, measured):
        twice = measure_ecg(2 * signal, 500)
        same(measured, twice)
        assert twice.amplitudes["r_mv"] == pytest.approx(2 * measured.amplitudes["r_mv"], rel=1e-3)

    def test_offset_and_wander(self, signal, measured):
        time = np.arange(signal.shape[1]) / 500
        same(measured, measure_ecg(signal + 3 + 0.5 * np.sin(2 * np.pi * 0.15 * time), 500), 8)

    def test_mains(self, signal, measured):
        time = np.arange(signal.shape[1]) / 500
        for hertz in (50, 60):
            same(measured, measure_ecg(signal + 0.2 * np.sin(2 * np.pi * hertz * time), 500), 4)

    def test_order_of_leads(self, signal, measured):
        order = np.random.default_rng(0).permutation(12)
        other = measure_ecg(signal[order], 500, [LEAD_NAMES[at] for at in order])
        same(measured, other)
        assert other.marks_s == pytest.approx(measured.marks_s[:, order], abs=0.003, nan_ok=True)
        assert {k: v for k, v in other.morphology.items() if isinstance(v, bool)} == {
            k: v for k, v in measured.morphology.items() if isinstance(v, bool)
        }

    @pytest.mark.parametrize("rate", [250, 257, 360, 400, 1000])
    def test_sampling_rate(self, measured, rate):
        other = measure_ecg(known.ecg(rate), rate)
        same(measured, other, 5)
        assert other.beats_s == pytest.approx(measured.beats_s, abs=0.006)

    def test_100_hz_is_coarser(self, measured):
        same(measured, measure_ecg(known.ecg(100), 100), 15)

    def test_a_batch_is_as_its_ecgs_one_by_one(self):
        signals = np.stack([simulate_exam(3, index).signal[:, :2900] for index in range(20)])
        for one, of_batch in zip(signals, measure_ecgs(signals, 400), strict=True):
            alone = measure_ecg(one, 400)
            same(alone, of_batch, 0.01)
            assert alone.reasons == of_batch.reasons and alone.beat_kinds == of_batch.beat_kinds
            assert alone.marks_s == pytest.approx(of_batch.marks_s, abs=1e-6, nan_ok=True)

    def test_the_input_is_left_alone(self, signal):
        before = signal.copy()
        measure_ecgs(signal[None], 500)
        assert (signal == before).all()


class TestMissing:
    def test_padding(self, signal, measured):
        padded = np.pad(signal, ((0, 0), (300, 700)))
        recorded = np.zeros(padded.shape, dtype=bool)
        recorded[:, 300:-700] = True
        for other in (measure_ecg(padded, 500), measure_ecg(padded, 500, recorded=recorded)):
            same(measured, other, 3)
            assert len(other.beats_s) == len(measured.beats_s)
            assert other.beats_s == pytest.approx(measured.beats_s + 0.6, abs=0.003)

    def test_missing_leads(self, signal, measured):
        signal = signal.copy()
        signal[[2, 7]] = np.nan
        signal[9] = 1.5
        other = measure_ecg(signal, 500)
        same(measured, other, 8)
        assert other.lead_mask.tolist() == [at not in (2, 7, 9) for at in range(12)]
        assert np.isnan(other.marks_s[:, [2, 7, 9]]).all()
        assert np.isnan(other.amplitudes["r_mv"][[2, 7, 9]]).all()
        assert other.morphology["low_voltage_chest"] is None

    def test_no_axis_without_leads_of_the_limbs(self, signal):
        other = measure_ecg(signal[6:], 500, LEAD_NAMES[6:])
        assert other.qrs_axis_deg is None and "I and II" in other.reasons["qrs_axis_deg"]
        assert other.qrs_ms is not None

    def test_one_lead(self, signal, measured):
        for one in (measure_ecg(signal[1], 500), measure_ecg(signal[1:2], 500, ["DII"])):
            assert one.heart_rate_bpm == pytest.approx(75, abs=0.1)
            assert one.pr_ms == pytest.approx(measured.pr_ms, abs=12)
            assert one.qt_ms == pytest.approx(measured.qt_ms, abs=12)
        assert one.lead_names == ("II",)

    def test_short_gaps_are_filled(self, signal, measured):
        signal = signal.copy()
        signal[3, 1000:1040] = np.nan
        same(measured, measure_ecg(signal, 500), 3)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda x: x[:, :900], "1.80 s"),
            (lambda x: np.full_like(x, np.nan), "nothing was recorded"),
            (lambda x: np.full_like(x, 0.7), "constant"),
            (lambda x: np.random.default_rng(0).normal(0, 0.3, x.shape), "no QRS complexes that repeat"),
        ],
    )
    def test_reasons(self, signal, change, reason):
        found = measure_ecg(change(signal), 500)
        assert set(found.reasons) == set(MEASURES) and not found.quality
        assert all(reason in text for text in found.reasons.values())
        assert all(getattr(found, name) is None for name in MEASURES)

    def test_few_hertz(self, signal):
        assert "25 Hz" in measure_ecg(signal, 25).reasons["heart_rate_bpm"]

    def test_two_beats_have_a_rate_and_no_pr(self):
        found = measure_ecg(known.ecg(seconds=2.05), 500)
        assert found.heart_rate_bpm == pytest.approx(75, abs=0.5)
        assert found.pr_ms is None and "fewer than 3 beats" in found.reasons["pr_ms"]


class TestRhythms:
    def test_fibrillation_has_no_pr(self):
        rng = np.random.default_rng(1)
        peaks = 0.4 + np.cumsum(rng.uniform(0.45, 1.0, 14))
        signal = known.ecg(500, 12.0, peaks[peaks < 11.8], p_wave=False)
        time = np.arange(signal.shape[1]) / 500
        wave = 0.05 * np.sin(2 * np.pi * np.cumsum(6 + np.cumsum(rng.normal(0, 0.05, len(time)))) / 500)
        found = measure_ecg(signal + wave * rng.normal(0, 1, (12, 1)), 500)
        assert found.pr_ms is None and found.p_axis_deg is None and found.p_ms is None
        assert "P" in found.reasons["pr_ms"] and found.reasons["pr_ms"] == found.reasons["p_axis_deg"]
        assert np.isnan(found.marks_s[:, :, P]).all() and np.isnan(found.amplitudes["p_mv"]).all()
        assert found.rhythm.irregularity > 0.1 and found.rhythm.p_before_qrs == 0
        assert found.qt_ms is not None

    def test_an_ectopic_beat_is_told_and_not_averaged(self, measured):
        peaks = np.arange(0.5, 10, 0.8)
        peaks[5] -= 0.25
        found = measure_ecg(known.ecg(r_peaks=peaks, broad=(5,)), 500)
        assert found.beat_kinds[5] == "ectopic" and found.beat_kinds.count("ectopic") == 1
        assert found.rhythm.ectopic_beats == found.rhythm.premature_beats == 1
        assert np.isnan(found.marks_s[5, :, P]).all() and np.isfinite(found.marks_s[4, :, P]).all()
        for name in ("pr_ms", "qrs_ms", "qt_ms"):
            assert getattr(found, name) == pytest.approx(getattr(measured, name), abs=4)

    @pytest.mark.parametrize("rate", [250, 400, 500, 1000])
    def test_spikes_of_a_pacemaker(self, rate):
        peaks = np.arange(0.5, 10, 0.8)
        signal = known.ecg(rate, r_peaks=peaks, broad=tuple(range(len(peaks))))
        at = np.round((peaks - 0.1) * rate).astype(int)
        signal[:, at] += 2.0
        found = measure_ecg(signal, rate)
        assert len(found.spikes_s) == len(peaks)
        assert found.spikes_s == pytest.approx(at / rate, abs=0.008)
        assert found.rhythm.paced_beats == len(peaks)
        onset = np.nanmedian(found.marks_s[3, :, QRS, ONSET])
        assert peaks[3] - 0.1 < onset < peaks[3] - 0.04

    def test_a_sharp_qrs_is_no_spike(self, measured):
        assert not measured.spikes_s.size
        assert all(not measure_ecg(simulate_exam(5, index).signal, 400).spikes_s.size for index in range(20))

    def test_long_pr(self):
        time = np.arange(5000) / 500
        signal = sum(known.beat(time - at, pr_more=0.1) for at in np.arange(0.7, 10, 1.0))
        rng = np.random.default_rng(0)
        found = measure_ecg(signal + rng.normal(0, 0.005, signal.shape), 500)
        assert found.pr_ms == pytest.approx(known.PR_MS + 100, abs=14)

    def test_heart_rates(self):
        for rate in (35, 50, 100, 130):
            found = measure_ecg(known.ecg(r_peaks=np.arange(0.6, 9.8, 60 / rate)), 500)
            assert found.heart_rate_bpm == pytest.approx(rate, abs=0.2)


class TestResult:
    def test_to_dict_is_json(self, measured):
        content = json.loads(json.dumps(measured.to_dict(), allow_nan=False))
        assert content["pr_ms"] == pytest.approx(measured.pr_ms, abs=0.05)
        assert content["leads"]["V5"]["r_mv"] == pytest.approx(1.3, rel=0.05)
        beat = content["beats"][3]
        assert beat["kind"] == "dominant"
        assert (
            beat["waves"]["P"]["onset"] < beat["waves"]["QRS"]["onset"] < beat["at_s"] < beat["waves"]["T"]["offset"]
        )
        assert content["leads_read"] == list(LEAD_NAMES) and content["reasons"] == {}

    def test_to_dict_of_nothing(self):
        content = json.loads(json.dumps(measure_ecg(np.zeros((12, 4000)), 400).to_dict(), allow_nan=False))
        assert content["heart_rate_bpm"] is None and content["beats"] == [] and content["leads"] == {}
        assert content["reasons"]["pr_ms"]

    def test_qtc_of_the_mean_interval(self, measured):
        assert measured.qtc_bazett_ms == pytest.approx(measured.qt_ms / 0.8**0.5, abs=0.5)
        assert measured.qtc_fridericia_ms == pytest.approx(measured.qt_ms / 0.8 ** (1 / 3), abs=0.5)
        assert measured.qtc_framingham_ms == pytest.approx(measured.qt_ms + 154 * 0.2, abs=0.5)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((np.zeros((2, 3, 4, 5)), 400), "one ECG"),
            ((np.zeros((12, 4000)), 0), "above 0 Hz"),
            ((np.zeros((12, 4000)), float("nan")), "above 0 Hz"),
            ((np.zeros((12, 4000)), 400, ["I", "II"]), "12 different lead names"),
            ((np.zeros((2, 4000)), 400, ["I", "I"]), "2 different lead names"),
            ((np.zeros((12, 4000), dtype=complex), 400), "real numbers"),
        ],
    )
    def test_arguments_that_do_not_fit(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            measure_ecg(*arguments)

    def test_mask_that_does_not_fit(self):
        with pytest.raises(ValueError, match="mask of shape"):
            measure_ecgs(np.zeros((1, 12, 4000)), 400, recorded=np.ones((1, 12, 400), dtype=bool))


@pytest.mark.filterwarnings("error")
def test_odd_ecgs_get_reasons():
    seen = set()
    for kind, signal, rate in odd_ecgs(2 * len(DAMAGES), seed=11):
        found = measure_ecg(signal, rate, None if len(signal) == 12 else LEAD_NAMES[: len(signal)])
        json.dumps(found.to_dict(), allow_nan=False)
        for name in MEASURES:
            missing = getattr(found, name) is None
            assert missing == bool(found.reasons.get(name)) and missing != (name in found.quality), (kind, name)
        seen.add(kind)
    assert seen == set(DAMAGES)
