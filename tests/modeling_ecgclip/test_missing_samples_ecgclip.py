import numpy as np
import pytest

from benchmarks.plausibility.faults import CODES, LEADS
from data_scripts.simulate.exam import simulate_exam
from modeling_ecgclip.missing_samples_ecgclip import MAX_GAP_S, fill_missing, missing_samples


RATE = 400


@pytest.fixture
def signal():
    return simulate_exam(0, 1).signal.astype(np.float64)


class TestMissing:
    def test_clean_recordings_miss_nothing(self):
        for index in range(30):
            assert not missing_samples(simulate_exam(0, index).signal.astype(np.float64)).any()

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_what_is_no_number_is_missing(self, signal, bad):
        signal[3, 100:110] = bad
        mask = missing_samples(signal)
        assert mask[3, 100:110].all() and mask.sum() == 10

    @pytest.mark.parametrize("code", CODES)
    @pytest.mark.parametrize("at", [[7], [0, 1, 2, 500, 4000 - 1500], slice(0, 2000)])
    def test_codes_are_missing(self, signal, code, at):
        signal[8, at] = code
        mask = missing_samples(signal)
        assert mask[8, at].all() and mask.sum() == mask[8, at].size

    def test_two_codes_in_one_lead(self, signal):
        signal[0, [10, 20]] = -32768.0
        signal[0, [30, 40]] = 9999.0
        signal[0, 50] = np.nan
        assert np.flatnonzero(missing_samples(signal)[0]).tolist() == [10, 20, 30, 40, 50]

    def test_spikes_of_a_pacemaker_are_not(self, signal):
        spikes = np.arange(100, 2900, 320)
        signal[:, spikes] += np.linspace(8, 10, len(spikes))
        signal[:, spikes + 1] -= np.linspace(6, 10, len(spikes))
        assert not missing_samples(signal).any()

    def test_a_saturated_amplifier_is_not(self, signal):
        signal[11, 1000:2000] = np.clip(40 * np.sin(np.arange(1000) / 90), -10.24, 10.24)
        assert not missing_samples(signal).any()

    def test_a_lead_in_another_unit_is_not(self, signal):
        assert not missing_samples(signal * 1000).any()

    def test_leads_of_any_samples_at_once(self, signal):
        signal[1] = np.nan
        signal[2] = np.inf
        signal[3, ::2], signal[3, 1::2] = np.inf, -np.inf
        signal[4, [0, -1]] = np.nan
        signal[5, 7], signal[5, 8] = 1e300, -1e300
        signal[6, 5] = 9999.0
        mask = missing_samples(signal)
        of_each = np.concatenate([missing_samples(lead[None]) for lead in signal])
        np.testing.assert_array_equal(mask, of_each)
        np.testing.assert_array_equal(mask[[1, 2, 3, 4]], ~np.isfinite(signal[[1, 2, 3, 4]]))
        assert mask[6].sum() == 1 and not mask[7:].any()
        assert missing_samples(signal[:, :0]).shape == (12, 0)

    def test_a_constant_lead_holds_no_code(self, signal):
        signal[2] = -32.768
        assert not missing_samples(signal).any()


class TestFill:
    def test_short_gaps_are_filled_and_stated(self, signal):
        true = signal.copy()
        signal[8, 1000:1040] = np.nan
        signal[8, 2000] = np.nan
        mask = missing_samples(signal)
        filled = fill_missing(signal, mask, LEADS, RATE)
        assert np.isfinite(filled.signal).all() and filled.lead_mask.all()
        np.testing.assert_array_equal(filled.recorded, ~mask)
        np.testing.assert_array_equal(filled.signal[~mask], true[~mask])
        assert filled.flags == [f"nan_repaired:V3:{100 * 41 / signal.shape[1]:.1f}%"]
        line = filled.signal[8, 999:1041]
        np.testing.assert_allclose(np.diff(line), (line[-1] - line[0]) / 41, atol=1e-9)

    def test_gap_beyond_the_limit_makes_the_lead_missing(self, signal):
        limit = int(MAX_GAP_S * RATE)
        for gap, kept in ((limit, True), (limit + 1, False)):
            changed = signal.copy()
            changed[8, 1000 : 1000 + gap] = np.nan
            filled = fill_missing(changed, missing_samples(changed), LEADS, RATE)
            assert filled.lead_mask.tolist() == [kept or name != "V3" for name in LEADS]
            assert filled.flags[0].split(":")[:2] == ["nan_repaired" if kept else "nan_lead", "V3"]
            assert kept or not (filled.signal[8].any() or filled.recorded[8].any())

    def test_a_lead_with_few_samples_is_missing(self, signal):
        signal[7, np.random.default_rng(0).random(signal.shape[1]) < 0.3] = np.nan
        filled = fill_missing(signal, missing_samples(signal), LEADS, RATE)
        assert not filled.lead_mask[7] and filled.flags[0].startswith("nan_lead:V2:")
        signal[6:, 1:] = np.nan  # one valid sample in each of V1 ... V6
        filled = fill_missing(signal, missing_samples(signal), LEADS, RATE)
        assert filled.lead_mask.tolist() == [True] * 6 + [False] * 6

    def test_a_print_out_of_three_by_four_misses_all(self, signal):
        n = signal.shape[1]
        for column in range(4):
            rows = slice(3 * column, 3 * column + 3)
            signal[rows, : column * n // 4] = np.nan
            signal[rows, (column + 1) * n // 4 :] = np.nan
        assert not fill_missing(signal, missing_samples(signal), LEADS, RATE).lead_mask.any()

    def test_nothing_is_missing(self, signal):
        filled = fill_missing(signal, missing_samples(signal), LEADS, RATE)
        np.testing.assert_array_equal(filled.signal, signal)
        assert filled.recorded.all() and filled.lead_mask.all() and not filled.flags
        assert not np.shares_memory(filled.signal, signal)

    def test_gaps_at_the_ends_are_held(self, signal):
        signal[0, :20] = np.nan
        signal[0, -20:] = np.nan
        filled = fill_missing(signal, missing_samples(signal), LEADS, RATE).signal
        assert (filled[0, :20] == filled[0, 20]).all() and (filled[0, -20:] == filled[0, -21]).all()
