import numpy as np
import pytest
import torch

from data_scripts.simulate.exam import simulate_exam
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor, resample
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from modeling_ecgclip.stated_ecgclip import ImplausibleEcgError, UnstatedError


RECORD_1 = "ptbxl_sample/records{rate}/00000/00001_{kind}"


@pytest.fixture
def extractor():
    return EcgFeatureExtractor()


@pytest.fixture
def ecg():
    """A simulated ECG, (12, 4096) in millivolts at 400 Hz."""
    return simulate_exam(3, 0).signal.astype(np.float64)


@pytest.fixture
def record(sample_data):
    return read_ecg(sample_data / RECORD_1.format(rate=500, kind="hr"))


def tensor(extractor, signal, rate, leads=None, unit="mV", **kwargs):
    return extractor(signal, sampling_rate=rate, lead_names=leads, unit=unit, **kwargs)["input_values"]


class TestSameEcgSameTensor:
    def test_ptbxl_in_every_form(self, extractor, record):
        plain = tensor(extractor, record.signal, 500, record.lead_names)
        assert plain.shape == (1, 12, 4096)
        assert plain.dtype == np.float32
        assert 0.5 < np.abs(plain).max() < 5  # millivolts

        order = np.random.default_rng(1).permutation(12)
        shuffled = [record.lead_names[i] for i in order]
        forms = {
            "shuffled": tensor(extractor, record.signal[order], 500, shuffled),
            "samples first": tensor(extractor, record.signal.T, 500, record.lead_names),
            "microvolts": tensor(extractor, record.signal * 1000, 500, record.lead_names, "uV"),
            "volts": tensor(extractor, record.signal / 1000, 500, record.lead_names, "V"),
            "torch": tensor(extractor, torch.from_numpy(record.signal), 500, record.lead_names),
            "whole microvolts": tensor(
                extractor, np.rint(record.signal * 1000).astype(np.int16), 500, record.lead_names, "\u00b5V"
            ),
            "aliases": tensor(
                extractor, record.signal, 500, ["DI", "d2", "DIII", "AVR", "avl", "aVF", *record.lead_names[6:]]
            ),
            "default order": tensor(extractor, record.signal, 500),
        }
        for form, values in forms.items():
            np.testing.assert_allclose(values, plain, atol=1e-6, rtol=0, err_msg=form)

    def test_ptbxl_at_100_and_500_hz(self, extractor, record, sample_data):
        low = read_ecg(sample_data / RECORD_1.format(rate=100, kind="lr"))
        at_500 = tensor(extractor, record.signal, record.sampling_rate, record.lead_names)[0]
        at_100 = tensor(extractor, low.signal, low.sampling_rate, low.lead_names)[0]
        correlations = [np.corrcoef(at_500[i, 48:-48], at_100[i, 48:-48])[0, 1] for i in range(12)]
        assert min(correlations) > 0.95, dict(zip(LEAD_NAMES, correlations, strict=True))

    def test_twice_gives_the_same_bits(self, extractor, record):
        first, second = (tensor(extractor, record.signal, 500, record.lead_names) for _ in range(2))
        assert np.array_equal(first, second)

    def test_batch_equals_one_by_one(self, extractor, ecg):
        other = ecg[:, :1500]
        batch = extractor([ecg, other], sampling_rate=[400, 500], unit="mV", return_tensors="pt")["input_values"]
        assert batch.shape == (2, 12, 4096)
        np.testing.assert_array_equal(batch[0].numpy(), tensor(extractor, ecg, 400)[0])
        np.testing.assert_array_equal(batch[1].numpy(), tensor(extractor, other, 500)[0])
        np.testing.assert_array_equal(tensor(extractor, np.stack([ecg, ecg]), 400)[1], batch[0].numpy())

    def test_nested_lists(self, extractor, ecg):
        np.testing.assert_array_equal(tensor(extractor, ecg.tolist(), 400), tensor(extractor, ecg, 400))

    def test_own_lead_order_for_each_ecg(self, extractor, ecg):
        reverse = list(reversed(LEAD_NAMES))
        batch = tensor(extractor, [ecg, ecg[::-1]], 400, [list(LEAD_NAMES), reverse])
        np.testing.assert_array_equal(batch[0], batch[1])


class TestResampling:
    @pytest.mark.parametrize("rate", [100, 250, 360, 500, 512, 977, 1000, 257.5])
    def test_offset_and_wander_do_not_ring(self, rate):
        t = np.arange(int(10 * rate)) / rate
        target_t = np.arange(0, np.ceil(len(t) * 400 / rate)) / 400
        wander = lambda t: np.stack([np.full_like(t, -9.0), 5 + 0.3 * t, 5 + 3 * np.sin(2 * np.pi * 0.2 * t + 1)])  # noqa: E731
        resampled = resample(wander(t), rate, 400)
        inside = target_t <= t[-1]
        # A microvolt, the resolution of the recorders.
        np.testing.assert_allclose(resampled[:, inside], wander(target_t)[:, inside], atol=1e-3)

    def test_band_of_the_ecg_is_kept(self):
        t = np.arange(5000) / 500
        for hz in (1, 40, 100, 140):
            resampled = resample(np.sin(2 * np.pi * hz * t)[None], 500, 400)[0]
            expected = np.sin(2 * np.pi * hz * np.arange(4000) / 400)
            np.testing.assert_allclose(resampled[200:-200], expected[200:-200], atol=1e-3)

    def test_length_and_flag(self, extractor, ecg):
        standard = extractor.standardize(ecg[:, ::4], 100, unit="mV")
        assert standard.signal.shape == (12, 4096)
        assert standard.flags == ["resampled"]
        assert extractor.standardize(ecg, 400, unit="mV").flags == []


class TestCentring:
    @pytest.mark.parametrize(("n", "left"), [(2934, 581), (4000, 48), (4095, 0), (1, 2047)])
    def test_zeros_on_both_sides(self, extractor, n, left):
        centred = extractor.center(np.ones((12, n), np.float32))
        assert centred.shape == (12, 4096)
        assert np.array_equal(np.flatnonzero(centred[0]), np.arange(left, left + n))

    def test_longer_loses_both_ends(self, extractor):
        signal = np.tile(np.arange(5000.0), (12, 1))
        assert extractor.center(signal)[0, [0, -1]].tolist() == [452, 4547]

    def test_mask_shows_padding(self, extractor, ecg):
        out = extractor(ecg[:, :2934], sampling_rate=400, unit="mV", return_attention_mask=True)
        mask = out["ecg_attention_mask"]
        assert mask.dtype == np.int64
        assert mask.shape == (1, 12, 4096)
        assert np.array_equal(np.flatnonzero(mask[0, 3]), np.arange(581, 581 + 2934))
        assert "ecg_attention_mask" not in extractor(ecg, sampling_rate=400, unit="mV")


class TestLeads:
    def test_limb_leads_are_derived(self, extractor, ecg):
        kept = [0, 1, 6, 7, 8, 9, 10, 11]
        names = [LEAD_NAMES[i] for i in kept]
        standard = extractor.standardize(ecg[kept], 400, names, "mV")
        np.testing.assert_allclose(standard.signal, ecg, atol=3e-3)  # the simulated recorder rounds each lead
        assert standard.flags == ["derived:III", "derived:aVR", "derived:aVL", "derived:aVF"]
        assert standard.lead_mask.all()

    def test_derived_leads_equal_recorded_ones(self, extractor, record):
        kept = [0, 1, 6, 7, 8, 9, 10, 11]
        derived = tensor(extractor, record.signal[kept], 500, [record.lead_names[i] for i in kept])
        plain = tensor(extractor, record.signal, 500, record.lead_names)
        np.testing.assert_allclose(derived, plain, atol=3e-3)  # the recorder rounded each lead to 1 uV or more

    def test_any_order_of_the_leads_is_the_same_to_the_bit(self, extractor, ecg):
        stated = extractor.standardize(ecg, 500, LEAD_NAMES, "mV")
        turned = extractor.standardize(ecg[::-1], 500, LEAD_NAMES[::-1], "mV")
        np.testing.assert_array_equal(turned.signal, stated.signal)
        np.testing.assert_array_equal(turned.recorded, stated.recorded)
        assert turned.flags == stated.flags
        assert stated.recorded.shape == stated.signal.shape and stated.recorded.dtype == bool

    def test_what_is_given_stays_as_it_is(self, extractor, ecg):
        before = ecg.copy()
        standard = extractor.standardize(ecg, 400, LEAD_NAMES, "mV")
        values = extractor.features([standard])["input_values"]
        values += 1
        np.testing.assert_array_equal(standard.signal, before.astype(np.float32))
        own = extractor.order(ecg, 400, LEAD_NAMES, "mV")
        own.signal[:] = 0
        np.testing.assert_array_equal(ecg, before)

    def test_missing_leads_are_refused(self, extractor, ecg):
        with pytest.raises(ValueError, match="exam 7: .*missing V2, V3.*allow_missing_leads"):
            extractor(
                np.delete(ecg, [7, 8], 0), 400, np.delete(LEAD_NAMES, [7, 8]).tolist(), "mV", record_names="exam 7"
            )

    def test_missing_leads_are_masked(self, extractor, ecg):
        names = np.delete(LEAD_NAMES, [7, 8]).tolist()
        out = extractor(np.delete(ecg, [7, 8], 0), 400, names, "mV", allow_missing_leads=True)
        assert not out["input_values"][0, 7:9].any()
        assert not out["ecg_attention_mask"][0, 7:9].any()
        assert out["ecg_attention_mask"][0, :7].all()
        assert out["input_values"][0, 9:].any(axis=1).all()

    def test_standard_ecg_names_missing_leads(self, ecg):
        extractor = EcgFeatureExtractor(allow_missing_leads=True)
        standard = extractor.standardize(ecg[1:], 400, LEAD_NAMES[1:], "mV")
        assert standard.flags == ["missing:I"]
        assert standard.lead_mask.tolist() == [False] + [True] * 11


class TestNotANumber:
    @pytest.fixture
    def broken(self, ecg):
        broken = ecg.copy()
        broken[3, 100:110] = np.nan
        broken[9, 0] = np.inf
        return broken

    def test_refused(self, extractor, broken):
        with pytest.raises(ValueError, match="finite.*aVR: 10 of 4096, V4: 1 of 4096.*repair_nan"):
            extractor(broken, sampling_rate=400, unit="mV")

    def test_repaired(self, extractor, broken, ecg):
        standard = extractor.standardize(broken, 400, unit="mV", repair_nan=True)
        assert standard.flags == ["nan_repaired:aVR:0.2%", "nan_repaired:V4:0.0%"]
        assert [finding.severity for finding in standard.findings] == ["note", "note"]
        line = np.interp(np.arange(100, 110), [99, 110], ecg[3, [99, 110]])
        np.testing.assert_allclose(standard.signal[3, 100:110], line, rtol=1e-6)
        assert standard.signal[9, 0] == np.float32(ecg[9, 1])
        untouched = np.isfinite(broken)
        np.testing.assert_array_equal(standard.signal[untouched], ecg.astype(np.float32)[untouched])
        np.testing.assert_array_equal(standard.recorded, untouched)

    def test_filled_samples_are_known_at_another_rate(self, extractor, ecg):
        ecg[3, 1000:1100] = np.nan
        standard = extractor.standardize(ecg[:, :4000], 500, unit="mV", repair_nan=True)
        lost = np.flatnonzero(~standard.recorded[3])
        assert lost.tolist() == list(range(800, 880))
        assert standard.recorded.shape == standard.signal.shape and np.delete(standard.recorded, 3, axis=0).all()

    def test_lead_without_any_number_is_missing(self, extractor, ecg):
        ecg[[2, 7]] = np.nan
        with pytest.raises(ValueError, match=r"missing V2 \(100.0% of its samples\)"):
            extractor.standardize(ecg, 400, unit="mV", repair_nan=True)
        standard = extractor.standardize(ecg, 400, unit="mV", repair_nan=True, allow_missing_leads=True)
        assert standard.flags == ["nan_lead:III:100.0%", "nan_lead:V2:100.0%", "derived:III", "missing:V2"]
        assert standard.lead_mask.tolist() == [name != "V2" for name in LEAD_NAMES]
        assert standard.recorded[2].all()  # I and II were
        assert not standard.recorded[7].any()

    @pytest.mark.parametrize("seconds", [0.25, 0.35, 2.5])
    def test_gaps_of_a_beat_and_more_are_not_filled(self, extractor, ecg, seconds):
        ecg[10, 1000 : 1000 + int(400 * seconds)] = np.nan
        standard = extractor.standardize(ecg, 400, unit="mV", repair_nan=True, allow_missing_leads=True)
        assert standard.lead_mask[10] == (seconds < 0.3)
        assert standard.flags[0].startswith("nan_repaired:V5:" if seconds < 0.3 else "nan_lead:V5:")

    def test_printed_in_columns(self, extractor, ecg):
        """2.5 s of each lead, as digitised print-outs have it: nothing is left to read."""
        printed = np.full_like(ecg, np.nan)
        for lead in range(12):
            at = lead // 3 * 1000
            printed[lead, at : at + 1000] = ecg[lead, at : at + 1000]
        with pytest.raises(ImplausibleEcgError, match="too little was recorded"):
            extractor.standardize(printed, 400, unit="mV", repair_nan=True, allow_missing_leads=True)

    def test_a_filled_beat_is_no_disagreement_of_leads(self, extractor, ecg):
        peak = 400 + int(np.abs(ecg[1, 400:3600]).argmax())
        ecg[1, peak - 40 : peak + 40] = np.nan
        standard = extractor.standardize(ecg, 400, unit="mV", repair_nan=True)
        assert standard.flags == ["nan_repaired:II:2.0%"]

    def test_codes_of_lost_samples(self, extractor, ecg):
        codes = np.rint(ecg * 1000).astype(np.int16)
        codes[4, 200:210] = -32768
        with pytest.raises(ImplausibleEcgError, match="codes of lost samples in aVL: 10 of 4096"):
            extractor.standardize(codes, 400, unit="uV")
        assert extractor.standardize(codes, 400, unit="uV", repair_nan=True).flags == ["nan_repaired:aVL:0.2%"]

    def test_masked_samples_were_not_recorded(self, extractor, ecg):
        masked = np.ma.array(ecg, mask=np.zeros(ecg.shape, bool))
        masked[8, 50:60] = np.ma.masked
        with pytest.raises(ImplausibleEcgError, match="V3: 10 of 4096"):
            extractor(masked, 400, unit="mV")
        mask = extractor(masked, 400, unit="mV", repair_nan=True, return_attention_mask=True)["ecg_attention_mask"]
        assert np.flatnonzero(mask[0, 8] == 0).tolist() == list(range(50, 60))


class TestNothingIsGuessed:
    """What neither the source nor the caller states is refused; leads that contradict each other too."""

    STATED = {"sampling_rate": 400, "lead_names": list(LEAD_NAMES), "unit": "mV"}

    @pytest.mark.parametrize("left_out", ["sampling_rate", "unit"])
    def test_unstated(self, extractor, ecg, left_out):
        with pytest.raises(UnstatedError, match=f"rec: expected {left_out}.*neither the source") as refused:
            extractor.standardize(ecg, **{**self.STATED, left_out: None}, record_name="rec")
        assert refused.value.setting == left_out

    def test_only_of_twelve_leads_the_order_is_known(self, extractor, ecg):
        np.testing.assert_array_equal(
            extractor.standardize(ecg, 400, unit="mV").signal, extractor.standardize(ecg, **self.STATED).signal
        )
        for few in (ecg[:8], ecg[:2]):
            with pytest.raises(UnstatedError, match="expected lead_names for each lead"):
                extractor.standardize(few, 400, unit="mV")
        with pytest.raises(UnstatedError, match="lead_names"):
            EcgFeatureExtractor(["II"]).standardize(ecg[1:2], 400, unit="mV")

    @pytest.mark.parametrize(
        ("order", "found"),
        [
            ([0, 1, 6, 7, 8, 9, 10, 11, 2, 3, 4, 5], "the leads look like I II V1-V6 III aVR aVL aVF"),
            ([1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], "in the order II I|upside down"),
            ([0, 1, 2, 4, 5, 3, 6, 7, 8, 9, 10, 11], "in the order aVL aVF aVR"),
        ],
    )
    @pytest.mark.parametrize("named", [False, True])
    def test_another_order(self, extractor, ecg, order, found, named):
        names = list(LEAD_NAMES) if named else None
        with pytest.raises(ImplausibleEcgError, match=found):
            extractor.standardize(ecg[order], 400, names, "mV")

    @pytest.mark.parametrize(
        ("factor", "unit", "code"),
        [
            (0.001, "mV", "amplitude_low"),  # volts
            (1000, "mV", "amplitude_high"),  # microvolts
            (100, "mV", "amplitude_high"),  # counts of 10 microvolts
            (1, "V", "amplitude_high"),
            (1, "uV", "amplitude_low"),
        ],
    )
    def test_another_unit(self, extractor, ecg, factor, unit, code):
        with pytest.raises(ImplausibleEcgError, match="Is the unit another one") as refused:
            extractor.standardize(ecg * factor, 400, unit=unit)
        assert refused.value.code == code

    def test_what_is_doubtful_is_said(self, extractor, ecg):
        noise = np.random.default_rng(0).normal(0, 0.5, (12, 4096))
        standard = extractor.standardize(noise, **self.STATED)
        assert sorted(finding.code for finding in standard.findings) == ["limb_leads_disagree", "not_an_ecg"]
        assert standard.flags == [finding.code for finding in standard.findings]
        with pytest.raises(ImplausibleEcgError, match="limb leads disagree"):
            extractor.standardize(noise, 400, unit="mV")


class TestFiltersAndScale:
    def test_highpass_takes_wander_and_keeps_beats(self, ecg):
        t = np.arange(4000) / 400
        beats = 0.5 * np.sin(2 * np.pi * 10 * t)
        signal = np.tile(beats + 4 * np.sin(2 * np.pi * 0.1 * t) - 9, (12, 1))
        filtered = EcgFeatureExtractor(highpass_hz=0.5)(signal, 400, LEAD_NAMES, "mV")["input_values"][0, 0, 48:-48]
        np.testing.assert_allclose(filtered[400:-400], beats[400:-400], atol=0.1)
        assert np.abs(filtered).max() < 1.0

    def test_notch_takes_the_mains(self):
        t = np.arange(4096) / 400
        beats, hum = np.sin(2 * np.pi * 8 * t), 0.3 * np.sin(2 * np.pi * 60 * t)
        filtered = EcgFeatureExtractor(notch_hz=60)(np.tile(beats + hum, (12, 1)), 400, LEAD_NAMES, "mV")
        filtered = filtered["input_values"][0, 0]
        np.testing.assert_allclose(filtered[400:-400], beats[400:-400], atol=0.02)

    def test_scale_only_when_asked(self, ecg):
        plain = tensor(EcgFeatureExtractor(scale=2.0), ecg, 400)
        np.testing.assert_array_equal(tensor(EcgFeatureExtractor(do_scale=True, scale=2.0), ecg, 400), 2 * plain)

    def test_padding_stays_zero(self, ecg):
        out = tensor(EcgFeatureExtractor(highpass_hz=0.5, notch_hz=50, do_scale=True, scale=2.0), ecg[:, :3000], 400)
        assert not out[0, :, :548].any()
        assert out[0, :, 548:-548].any()


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"lead_names": [*LEAD_NAMES[:11], "V9"]}, ValueError, "rec: unknown lead name 'V9'.*V6"),
            ({"lead_names": [*LEAD_NAMES[:11], "DII"]}, ValueError, "rec: lead II occurs more than once"),
            ({"lead_names": LEAD_NAMES[:11]}, ValueError, r"rec: expected 11 leads.*found shape \(12, 4096\)"),
            ({"sampling_rate": 0}, ValueError, "rec: sampling_rate must be above 0 Hz: found 0"),
            ({"sampling_rate": -500}, ValueError, "above 0 Hz: found -500"),
            ({"sampling_rate": float("nan")}, ValueError, "above 0 Hz: found nan"),
            ({"sampling_rate": "500"}, TypeError, "must be a number of Hz: found '500'"),
            ({"unit": "furlong"}, ValueError, "rec: unknown unit 'furlong'.*mV, uV, V"),
            ({"unit": "V"}, ValueError, r"rec \(unit V\): amplitudes of .* mV.*another"),
        ],
    )
    def test_arguments(self, extractor, ecg, change, error, message):
        with pytest.raises(error, match=message):
            extractor(ecg, **{"sampling_rate": 400, "unit": "mV", "record_names": "rec", **change})

    @pytest.mark.parametrize(
        ("ecg", "error", "message"),
        [
            (np.ones((11, 5000)), ValueError, r"expected lead_names for each lead of shape \(11, 5000\)"),
            (np.ones((12, 0)), ValueError, r"empty: found shape \(12, 0\)"),
            (np.zeros((12, 4096)), ValueError, "every lead is constant over all 4096"),
            (np.full((12, 100), 3.0), ValueError, "expected at least 2 s: found 0.25 s"),
            (np.ones(4096), ValueError, r"found an array of shape \(4096,\)"),
            ([], ValueError, "empty list"),
            (np.array([["a"] * 12] * 12), TypeError, "real numbers"),
            (np.ones((12, 100), complex), TypeError, "real numbers"),
        ],
    )
    def test_signals(self, extractor, ecg, error, message):
        with pytest.raises(error, match=message):
            extractor(ecg, sampling_rate=400, unit="mV")

    def test_lists_of_wrong_length(self, extractor, ecg):
        with pytest.raises(ValueError, match="sampling_rate must have one entry for each of 2 ECGs: found 3"):
            extractor([ecg, ecg], sampling_rate=[400, 400, 400])

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"sampling_rte": 500}, TypeError, "no setting named sampling_rte"),
            ({"sampling_rate": 0}, ValueError, "sampling_rate"),
            ({"n_samples": -1}, ValueError, "n_samples"),
            ({"scale": 0}, ValueError, "scale"),
            ({"highpass_hz": 250}, ValueError, "highpass_hz must lie between 0 and 200.0 Hz: found 250"),
            ({"lead_names": []}, ValueError, "lead_names"),
            ({"lead_names": ["I", "DI"]}, ValueError, "distinct"),
        ],
    )
    def test_settings(self, settings, error, message):
        with pytest.raises(error, match=message):
            EcgFeatureExtractor(**settings)


def test_settings_survive_saving(tmp_path):
    settings = {"do_scale": True, "scale": 2.0, "highpass_hz": 0.5, "notch_hz": 60, "repair_nan": True}
    EcgFeatureExtractor(**settings).save_pretrained(tmp_path)
    loaded = EcgFeatureExtractor.from_pretrained(tmp_path)
    assert {name: getattr(loaded, name) for name in settings} == settings
    assert loaded.lead_names == list(LEAD_NAMES)
