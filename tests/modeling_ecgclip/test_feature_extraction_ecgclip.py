import numpy as np
import pytest
import torch

from modeling_ecgclip.configuration_ecgclip import LEAD_NAMES
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor, resample
from modeling_ecgclip.reading_ecgclip import read_ecg


RECORD_1 = "ptbxl_sample/records{rate}/00000/00001_{kind}"


@pytest.fixture
def extractor():
    return EcgFeatureExtractor()


@pytest.fixture
def ecg():
    """Twelve leads that obey Einthoven's and Goldberger's laws, (12, 4096) in millivolts at 400 Hz."""
    signal = np.random.default_rng(0).normal(0, 0.5, (12, 4096))
    i, ii = signal[0], signal[1]
    signal[2:6] = ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2
    return signal


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
        other = ecg[:, :1000]
        batch = extractor([ecg, other], sampling_rate=[400, 500], return_tensors="pt")["input_values"]
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
        standard = extractor.standardize(ecg[:, :1000], 100)
        assert standard.signal.shape == (12, 4000)
        assert standard.flags == ["resampled"]
        assert extractor.standardize(ecg, 400).flags == []


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
        out = extractor(ecg[:, :2934], sampling_rate=400, return_attention_mask=True)
        mask = out["ecg_attention_mask"]
        assert mask.dtype == np.int64
        assert mask.shape == (1, 12, 4096)
        assert np.array_equal(np.flatnonzero(mask[0, 3]), np.arange(581, 581 + 2934))
        assert "ecg_attention_mask" not in extractor(ecg, sampling_rate=400)


class TestLeads:
    def test_limb_leads_are_derived(self, extractor, ecg):
        kept = [0, 1, 6, 7, 8, 9, 10, 11]
        names = [LEAD_NAMES[i] for i in kept]
        standard = extractor.standardize(ecg[kept], 400, names)
        np.testing.assert_allclose(standard.signal, ecg, atol=1e-6)
        assert standard.flags == ["derived:III", "derived:aVR", "derived:aVL", "derived:aVF"]
        assert standard.lead_mask.all()

    def test_derived_leads_equal_recorded_ones(self, extractor, record):
        kept = [0, 1, 6, 7, 8, 9, 10, 11]
        derived = tensor(extractor, record.signal[kept], 500, [record.lead_names[i] for i in kept])
        plain = tensor(extractor, record.signal, 500, record.lead_names)
        np.testing.assert_allclose(derived, plain, atol=3e-3)  # the recorder rounded each lead to 1 uV or more

    def test_missing_leads_are_refused(self, extractor, ecg):
        with pytest.raises(ValueError, match="exam 7: .*missing V2, V3.*allow_missing_leads"):
            extractor(np.delete(ecg, [7, 8], 0), 400, np.delete(LEAD_NAMES, [7, 8]).tolist(), record_names="exam 7")

    def test_missing_leads_are_masked(self, extractor, ecg):
        names = np.delete(LEAD_NAMES, [7, 8]).tolist()
        out = extractor(np.delete(ecg, [7, 8], 0), 400, names, allow_missing_leads=True)
        assert not out["input_values"][0, 7:9].any()
        assert not out["ecg_attention_mask"][0, 7:9].any()
        assert out["ecg_attention_mask"][0, :7].all()
        assert out["input_values"][0, 9:].any(axis=1).all()

    def test_standard_ecg_names_missing_leads(self, ecg):
        extractor = EcgFeatureExtractor(allow_missing_leads=True)
        standard = extractor.standardize(ecg[1:], 400, LEAD_NAMES[1:])
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
            extractor(broken, sampling_rate=400)

    def test_repaired(self, extractor, broken, ecg):
        standard = extractor.standardize(broken, 400, repair_nan=True)
        assert standard.flags == ["nan_repaired"]
        line = np.interp(np.arange(100, 110), [99, 110], ecg[3, [99, 110]])
        np.testing.assert_allclose(standard.signal[3, 100:110], line, rtol=1e-6)
        assert standard.signal[9, 0] == np.float32(ecg[9, 1])
        untouched = np.isfinite(broken)
        np.testing.assert_array_equal(standard.signal[untouched], ecg.astype(np.float32)[untouched])

    def test_lead_without_any_number_is_missing(self, extractor, ecg):
        ecg[[2, 7]] = np.nan
        with pytest.raises(ValueError, match="missing V2"):
            extractor.standardize(ecg, 400, repair_nan=True)
        standard = extractor.standardize(ecg, 400, repair_nan=True, allow_missing_leads=True)
        assert standard.flags == ["nan_repaired", "derived:III", "missing:V2"]


class TestFiltersAndScale:
    def test_highpass_takes_wander_and_keeps_beats(self, ecg):
        t = np.arange(4000) / 400
        beats = 0.5 * np.sin(2 * np.pi * 10 * t)
        signal = np.tile(beats + 4 * np.sin(2 * np.pi * 0.1 * t) - 9, (12, 1))
        filtered = EcgFeatureExtractor(highpass_hz=0.5)(signal, 400)["input_values"][0, 0, 48:-48]
        np.testing.assert_allclose(filtered[400:-400], beats[400:-400], atol=0.1)
        assert np.abs(filtered).max() < 1.0

    def test_notch_takes_the_mains(self):
        t = np.arange(4096) / 400
        beats, hum = np.sin(2 * np.pi * 8 * t), 0.3 * np.sin(2 * np.pi * 60 * t)
        filtered = EcgFeatureExtractor(notch_hz=60)(np.tile(beats + hum, (12, 1)), 400)["input_values"][0, 0]
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
            ({"unit": "V"}, ValueError, "rec: amplitudes of .* mV with unit='V'.*another"),
        ],
    )
    def test_arguments(self, extractor, ecg, change, error, message):
        with pytest.raises(error, match=message):
            extractor(ecg, **{"sampling_rate": 400, "record_names": "rec", **change})

    @pytest.mark.parametrize(
        ("ecg", "error", "message"),
        [
            (np.ones((11, 5000)), ValueError, r"expected 12 leads.*found shape \(11, 5000\); pass lead_names"),
            (np.ones((12, 0)), ValueError, r"empty: found shape \(12, 0\)"),
            (np.zeros((12, 4096)), ValueError, "no signal: every lead is constant"),
            (np.full((12, 100), 3.0), ValueError, "no signal"),
            (np.ones(4096), ValueError, r"found an array of shape \(4096,\)"),
            ([], ValueError, "empty list"),
            (np.array([["a"] * 12] * 12), TypeError, "real numbers"),
            (np.ones((12, 100), complex), TypeError, "real numbers"),
        ],
    )
    def test_signals(self, extractor, ecg, error, message):
        with pytest.raises(error, match=message):
            extractor(ecg, sampling_rate=400)

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
