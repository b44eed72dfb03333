"""Noise: formed on electrodes, absent when clean, and as strong as asked for."""

import numpy as np
import pytest

from data_scripts.simulate.noise import (
    ARMS,
    LONG_SAMPLES,
    SHORT_SAMPLES,
    Recording,
    banks,
    draw_recording,
    filter_leads,
    lose_contact,
    record,
)
from data_scripts.simulate.projection import twelve_leads
from modeling_ecgclip.signal_ecgclip import SAMPLING_RATE


def recording_of(**changes):
    values = {"n_samples": LONG_SAMPLES, "muscle_mv": 1e-9, "wander_mv": 0.0, "mains_mv": 0.0, "offset_mv": 0.0}
    return Recording(**(values | {"pop_mv": 0.0, "flaws": ()} | changes))


def noise_of(seed=0, **changes):
    recording = recording_of(**changes)
    silent = np.zeros((8, recording.n_samples), np.float32)
    return record(np.random.default_rng(seed), silent, recording)


def test_banks_have_unit_variance_and_the_same_content_each_time():
    muscle, wander = banks()
    assert muscle.std() == pytest.approx(1, abs=1e-3) and wander.std() == pytest.approx(1, abs=1e-3)
    first = muscle[:100].copy()
    banks.cache_clear()
    np.testing.assert_array_equal(banks()[0][:100], first)


def test_wander_is_slow_and_muscle_noise_is_fast():
    slow, fast = noise_of(wander_mv=0.1), noise_of(muscle_mv=0.1)
    assert np.diff(slow).std() < 0.02 * slow.std()
    assert np.diff(fast).std() > 0.3 * fast.std()


def test_noise_obeys_einthoven_because_it_is_formed_on_electrodes():
    leads = twelve_leads(noise_of(muscle_mv=0.05, wander_mv=0.3, mains_mv=0.05, offset_mv=1.0))
    assert leads.std() > 0.05
    np.testing.assert_allclose(leads[0] + leads[2], leads[1], atol=1e-5)


def test_mains_is_at_sixty_hertz():
    power = np.abs(np.fft.rfft(noise_of(mains_mv=0.1)[1])) ** 2
    assert np.argmax(power[1:]) + 1 == pytest.approx(60 / (400 / LONG_SAMPLES), abs=1)


def test_offset_pop_and_loose_electrode_do_what_they_say():
    assert np.abs(noise_of(offset_mv=2.0).mean(axis=1)).max() > 1.0
    pops = noise_of(pop_mv=2.0, flaws=("pop",))
    assert np.abs(np.diff(pops)).max() > 0.5
    assert np.abs(np.diff(noise_of(wander_mv=2.0))).max() < 0.5  # nothing else is so sudden
    heart = np.tile(np.sin(np.arange(LONG_SAMPLES)).astype(np.float32), (8, 1))
    rng, recorded, loose = np.random.default_rng(0), heart.copy(), recording_of(flaws=("loose",))
    lost = lose_contact(rng, record(rng, recorded, loose), loose)
    changed = [not np.allclose(a, b, atol=1e-4) for a, b in zip(recorded, heart, strict=True)]
    assert sum(changed) == 1 and changed[lost] and not any(changed[:2])
    assert lose_contact(rng, recorded, recording_of()) is None


def test_clean_recordings_pass_the_heart_through_unchanged():
    heart = np.random.default_rng(0).normal(size=(8, LONG_SAMPLES)).astype(np.float32)
    rng = np.random.default_rng(1)
    recording = draw_recording(rng, clean=True)
    assert recording.flaws == () and recording.n_samples in (SHORT_SAMPLES, LONG_SAMPLES)
    np.testing.assert_array_equal(record(rng, heart.copy(), recording), heart)


def test_recordings_have_two_lengths_and_their_shares_of_offsets_and_flaws():
    recordings = [draw_recording(np.random.default_rng(k)) for k in range(3000)]
    assert 0.55 < np.mean([r.n_samples == SHORT_SAMPLES for r in recordings]) < 0.65
    offsets = {
        n: np.median([r.offset_mv for r in recordings if r.n_samples == n]) for n in (SHORT_SAMPLES, LONG_SAMPLES)
    }
    assert offsets[SHORT_SAMPLES] < 0.05 and offsets[LONG_SAMPLES] > 0.1
    filtered = [r for r in recordings if r.filtered]
    assert 0.6 < len(filtered) / len(recordings) < 0.7 and {r.mains_hz for r in filtered} == {50.0, 60.0}
    assert {r.mains_hz for r in recordings if not r.filtered} == {60.0}
    assert max(r.offset_mv for r in recordings) > 2  # some have several millivolts
    assert {flaw for r in recordings for flaw in r.flaws} == {
        "noisy", "wander", "offset", "pop", "loose", "mains", "reversal", "exchange", "dropout",
    }  # fmt: skip
    assert all((r.exchanged is not None) == bool({"reversal", "exchange"} & set(r.flaws)) for r in recordings)
    assert {r.exchanged for r in recordings if "reversal" in r.flaws} == {ARMS}
    assert len({r.exchanged for r in recordings if "exchange" in r.flaws}) > 3


def gain_at(hz, recording):
    """How much of a sine of this frequency the recorder's filters leave."""
    wave = np.sin(2 * np.pi * hz * np.arange(recording.n_samples) / SAMPLING_RATE).astype(np.float32)
    middle = slice(recording.n_samples // 4, -recording.n_samples // 4)
    return filter_leads(np.tile(wave, (8, 1)), recording)[0, middle].std() / wave[middle].std()


def test_filters_keep_the_heart_and_take_what_lies_beyond_their_corners():
    recording = recording_of(highpass_hz=0.5, lowpass_hz=100.0, notch_hz=50.0)
    assert gain_at(10, recording) == pytest.approx(1, abs=0.01)
    assert gain_at(50, recording) < 0.05 and gain_at(100, recording) == pytest.approx(0.5, abs=0.02)
    assert gain_at(180, recording) < 0.05
    shifted = filter_leads(np.full((8, recording.n_samples), 3.0, np.float32), recording)
    assert np.abs(shifted).max() < 0.05  # an offset, up to its ends
    assert shifted.shape == (8, recording.n_samples) and shifted.dtype == np.float32


def test_a_dropout_reads_zero_for_a_while_and_not_for_good():
    noisy = noise_of(muscle_mv=0.1, flaws=("dropout",))
    silent = (noisy == 0).mean(axis=1)
    assert 0 < silent.max() <= 2.5 * SAMPLING_RATE / LONG_SAMPLES + 1e-3
