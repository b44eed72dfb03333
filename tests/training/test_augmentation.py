import pytest
import torch

from modeling_ecgclip.configuration_ecgclip import LEAD_NAMES
from training.augmentation import Augmentation, SignalInput


ALL = {"amplitude": 0.2, "noise_mv": 0.03, "wander_mv": 0.2, "shift_s": 0.5, "lead_masking": 0.2}
WIDTH = 4096
LEAD = {name: i for i, name in enumerate(LEAD_NAMES)}


def exams(n_samples):
    """Noise that obeys Einthoven and Goldberger, zero-padded as the feature extractor pads."""
    generator = torch.Generator().manual_seed(0)
    ecg = torch.randn(len(n_samples), 12, WIDTH, generator=generator)
    ecg[:, LEAD["III"]] = ecg[:, LEAD["II"]] - ecg[:, LEAD["I"]]
    for row, n in enumerate(n_samples):
        left = (WIDTH - n) // 2
        ecg[row, :, :left] = 0
        ecg[row, :, left + n :] = 0
    return ecg, torch.tensor(n_samples, dtype=torch.int32)


def test_nothing_is_changed_unless_asked():
    ecg, n_samples = exams([WIDTH, 2801])
    assert Augmentation.parse(None) is None and Augmentation.parse([]) is None
    assert torch.equal(Augmentation()(ecg, n_samples), ecg)
    batch = {"ecg": (ecg * 1000).to(torch.int16), "n_samples": n_samples}
    augmented = SignalInput(1000.0, Augmentation(**ALL))
    assert torch.equal(augmented(batch), batch["ecg"] / 1000)  # validation
    assert not torch.equal(augmented(batch, training=True), batch["ecg"] / 1000)


def test_a_scaled_input_is_augmented_in_millivolts():
    ecg, n_samples = exams([WIDTH])
    batch = {"ecg": (ecg * 1000).to(torch.int16), "n_samples": n_samples}
    results = []
    for microvolts_per_unit in (1000.0, 250.0):
        torch.manual_seed(0)
        results.append(SignalInput(microvolts_per_unit, Augmentation(noise_mv=0.5))(batch, training=True))
    torch.testing.assert_close(results[1], 4 * results[0])


@pytest.mark.parametrize("name", ALL)
def test_shape_type_and_what_is_no_recording_stay(name):
    ecg, n_samples = exams([WIDTH, 2801, 4095])
    ecg[2, LEAD["V3"]] = 0  # missing
    torch.manual_seed(1)
    changed = Augmentation(**{name: ALL[name]})(ecg, n_samples)
    assert changed.shape == ecg.shape and changed.dtype == torch.float32
    assert not torch.equal(changed, ecg)
    assert (changed[2, LEAD["V3"]] == 0).all()
    if name == "shift_s":
        recorded = (changed[1] != 0).all(dim=0)
        assert recorded.sum() == 2801  # it has room to move: nothing is cropped
    else:
        assert (changed[ecg == 0] == 0).all()
    assert torch.isfinite(changed).all()


def test_a_seed_repeats_the_draw_and_exams_differ():
    ecg, n_samples = exams([WIDTH])
    twice = ecg.expand(2, -1, -1), n_samples.expand(2)
    augment = Augmentation(**ALL)
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        results.append(augment(*twice))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    assert not torch.equal(results[0][0], results[0][1])


def test_amplitude_is_one_factor_for_an_exam():
    ecg, n_samples = exams([WIDTH] * 200)
    factor = Augmentation(amplitude=0.25)(ecg, n_samples)[:, :, 0] / ecg[:, :, 0]
    torch.testing.assert_close(factor, factor[:, :1].expand(-1, 12))
    assert 1 / 1.25 <= factor.min() < 0.85 and 1.2 < factor.max() <= 1.25 + 1e-6


@pytest.mark.parametrize("name", ["noise_mv", "wander_mv"])
def test_disturbances_keep_the_laws_between_leads(name):
    ecg, n_samples = exams([WIDTH] * 4)
    added = Augmentation(**{name: 0.1})(ecg, n_samples) - ecg
    i, ii, iii, avr, avl, avf = (added[:, LEAD[lead]] for lead in ("I", "II", "III", "aVR", "aVL", "aVF"))
    torch.testing.assert_close(i + iii, ii, atol=1e-5, rtol=0)
    torch.testing.assert_close(avr + avl + avf, torch.zeros_like(i), atol=1e-5, rtol=0)
    assert 0.001 < added[:, LEAD["V1"]].abs().mean() < 0.2


def test_wander_is_slow_and_bounded():
    ecg, n_samples = exams([WIDTH] * 8)
    added = Augmentation(wander_mv=0.3)(ecg, n_samples) - ecg
    assert added.abs().max() <= 0.3 * 2 + 1e-4  # a lead is a difference of two electrodes, or of one and their mean
    spectrum = torch.fft.rfft(added).abs() ** 2
    assert spectrum[..., : 4096 // 400].sum() > 0.95 * spectrum.sum()  # below 1 Hz


def test_shift_moves_and_does_not_change_samples():
    ecg, n_samples = exams([WIDTH])
    torch.manual_seed(0)
    changed = Augmentation(shift_s=1.0)(ecg, n_samples)
    shifts = [
        by for by in range(-400, 401) if torch.equal(torch.roll(ecg, by, -1)[..., 400:-400], changed[..., 400:-400])
    ]
    assert len(shifts) == 1 and shifts[0] != 0
    entered = changed[..., : shifts[0]] if shifts[0] > 0 else changed[..., shifts[0] :]
    assert (entered == 0).all()


def test_masking_drops_whole_leads_at_its_rate_and_never_all():
    ecg, n_samples = exams([WIDTH] * 300)
    kept = (Augmentation(lead_masking=0.3)(ecg, n_samples) != 0).any(dim=-1)
    assert kept.float().mean() == pytest.approx(0.7, abs=0.03)
    assert (Augmentation(lead_masking=0.99)(ecg, n_samples) != 0).any(dim=-1).any(dim=-1).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["noise=1"], "expected one or more of amplitude, noise_mv"),
        (["noise_mv"], "expected noise_mv=NUMBER"),
        (["noise_mv=1", "noise_mv=2"], "each once"),
        (["amplitude=-1"], "amplitude must be 0 or more: found -1"),
        (["shift_s=nan"], "shift_s must be 0 or more"),
        (["shift_s=6"], "would leave no ECG: found 6"),
        (["lead_masking=1"], "probability below 1: found 1"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Augmentation.parse(settings)
