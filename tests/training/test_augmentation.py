import pytest
import torch

from modeling_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.signal_ecgclip import INDEPENDENT_LEADS, LEAD_NAMES, SignalSpec
from training.augmentation import Augmentation, SignalInput


ALL = {"amplitude": 0.2, "noise_mv": 0.03, "wander_mv": 0.2, "shift_s": 0.5, "lead_masking": 0.2}
WIDTH = 4096
SPEC = SignalSpec()
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
    assert torch.equal(Augmentation()(ecg, n_samples, SPEC), ecg)
    batch = {"ecg": (ecg * 1000).to(torch.int16), "n_samples": n_samples}
    augmented = SignalInput(EcgFeatureExtractor(), SPEC, Augmentation(**ALL))
    assert torch.equal(augmented(batch), batch["ecg"] / 1000)  # validation
    assert not torch.equal(augmented(batch, training=True), batch["ecg"] / 1000)


def test_a_scaled_input_is_augmented_in_millivolts():
    ecg, n_samples = exams([WIDTH])
    batch = {"ecg": (ecg * 1000).to(torch.int16), "n_samples": n_samples}
    results = []
    for scale in (1.0, 4.0):
        torch.manual_seed(0)
        extractor = EcgFeatureExtractor(do_scale=True, scale=scale)
        results.append(SignalInput(extractor, SPEC, Augmentation(noise_mv=0.5))(batch, training=True))
    torch.testing.assert_close(results[1], 4 * results[0])


@pytest.mark.parametrize("name", ALL)
def test_shape_type_and_what_is_no_recording_stay(name):
    ecg, n_samples = exams([WIDTH, 2801, 4095])
    ecg[2, LEAD["V3"]] = 0  # missing
    torch.manual_seed(1)
    changed = Augmentation(**{name: ALL[name]})(ecg, n_samples, SPEC)
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
        results.append(augment(*twice, SPEC))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    assert not torch.equal(results[0][0], results[0][1])


def test_amplitude_is_one_factor_for_an_exam():
    ecg, n_samples = exams([WIDTH] * 200)
    factor = Augmentation(amplitude=0.25)(ecg, n_samples, SPEC)[:, :, 0] / ecg[:, :, 0]
    torch.testing.assert_close(factor, factor[:, :1].expand(-1, 12))
    assert 1 / 1.25 <= factor.min() < 0.85 and 1.2 < factor.max() <= 1.25 + 1e-6


@pytest.mark.parametrize("name", ["noise_mv", "wander_mv"])
def test_disturbances_keep_the_laws_between_leads(name):
    ecg, n_samples = exams([WIDTH] * 4)
    added = Augmentation(**{name: 0.1})(ecg, n_samples, SPEC) - ecg
    i, ii, iii, avr, avl, avf = (added[:, LEAD[lead]] for lead in ("I", "II", "III", "aVR", "aVL", "aVF"))
    torch.testing.assert_close(i + iii, ii, atol=1e-5, rtol=0)
    torch.testing.assert_close(avr + avl + avf, torch.zeros_like(i), atol=1e-5, rtol=0)
    assert 0.001 < added[:, LEAD["V1"]].abs().mean() < 0.2


def test_wander_is_slow_and_bounded():
    ecg, n_samples = exams([WIDTH] * 8)
    added = Augmentation(wander_mv=0.3)(ecg, n_samples, SPEC) - ecg
    assert added.abs().max() <= 0.3 * 2 + 1e-4  # a lead is a difference of two electrodes, or of one and their mean
    spectrum = torch.fft.rfft(added).abs() ** 2
    assert spectrum[..., : 4096 // 400].sum() > 0.95 * spectrum.sum()  # below 1 Hz


def test_shift_moves_and_does_not_change_samples():
    ecg, n_samples = exams([WIDTH])
    torch.manual_seed(0)
    changed = Augmentation(shift_s=1.0)(ecg, n_samples, SPEC)
    shifts = [
        by for by in range(-400, 401) if torch.equal(torch.roll(ecg, by, -1)[..., 400:-400], changed[..., 400:-400])
    ]
    assert len(shifts) == 1 and shifts[0] != 0
    entered = changed[..., : shifts[0]] if shifts[0] > 0 else changed[..., shifts[0] :]
    assert (entered == 0).all()


def test_masking_drops_whole_leads_at_its_rate_and_never_all():
    ecg, n_samples = exams([WIDTH] * 300)
    kept = (Augmentation(lead_masking=0.3)(ecg, n_samples, SPEC) != 0).any(dim=-1)
    assert kept.float().mean() == pytest.approx(0.7, abs=0.03)
    assert (Augmentation(lead_masking=0.99)(ecg, n_samples, SPEC) != 0).any(dim=-1).any(dim=-1).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["noise=1"], "expected one or more of amplitude, noise_mv"),
        (["noise_mv"], "expected noise_mv=NUMBER"),
        (["noise_mv=1", "noise_mv=2"], "each once"),
        (["amplitude=-1"], "amplitude must be 0 or more: found -1"),
        (["shift_s=nan"], "shift_s must be 0 or more"),
        (["lead_masking=1"], "probability below 1: found 1"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Augmentation.parse(settings)


def test_a_shift_is_bounded_by_the_window():
    augmentation = Augmentation.parse(["shift_s=3"])
    SignalInput(EcgFeatureExtractor(), SPEC, augmentation)
    short = SignalSpec(n_samples=2000)
    with pytest.raises(ValueError, match=r"more than half the window \(2.5 s\) would leave no ECG: found 3"):
        SignalInput(EcgFeatureExtractor(n_samples=2000), short, augmentation)


@pytest.mark.parametrize("names", [("II",), INDEPENDENT_LEADS, tuple(reversed(LEAD_NAMES))])
@pytest.mark.parametrize("name", ["noise_mv", "wander_mv"])
def test_disturbances_reach_each_lead_by_its_name(names, name):
    ecg, n_samples = exams([WIDTH] * 2)
    chosen = ecg[:, [LEAD[lead] for lead in names]]
    added = []
    for signal, recordings in ((SPEC, ecg), (SignalSpec(names), chosen)):
        torch.manual_seed(3)
        added.append(Augmentation(**{name: 0.2})(recordings, n_samples, signal) - recordings)
    torch.testing.assert_close(added[1], added[0][:, [LEAD[lead] for lead in names]], atol=1e-5, rtol=0)


def test_one_lead_is_never_masked():
    ecg, n_samples = exams([WIDTH] * 50)
    masked = Augmentation(lead_masking=0.9)(ecg[:, :1], n_samples, SignalSpec(("I",)))
    assert torch.equal(masked, ecg[:, :1])


def test_seconds_and_hertz_are_those_of_the_recording():
    ecg, n_samples = exams([WIDTH] * 4)
    signal = SignalSpec(sampling_rate=100)
    added = Augmentation(wander_mv=0.3)(ecg, n_samples, signal) - ecg
    spectrum = torch.fft.rfft(added).abs() ** 2
    assert spectrum[..., : int(0.6 * WIDTH / 100)].sum() > 0.95 * spectrum.sum()  # below 0.6 Hz
    assert spectrum[..., : int(0.04 * WIDTH / 100)].sum() < 0.05 * spectrum.sum()  # and not slower than 0.05 Hz
    by_100 = Augmentation(shift_s=1.0)(ecg, n_samples, signal)
    for before, after in zip(ecg, by_100, strict=True):
        assert sum(torch.equal(torch.roll(before, by, -1)[:, 100:-100], after[:, 100:-100]) for by in range(-100, 101))


@pytest.mark.parametrize(("n_samples", "multiple"), [(4096, 1024), (5000, 1024), (2001, 512), (2001, 1)])
def test_input_is_padded_as_the_feature_extractor_pads(n_samples, multiple):
    signal = SignalSpec(("I", "V2"), 500, n_samples)
    extractor = EcgFeatureExtractor(signal.lead_names, 500, n_samples, multiple)
    generator = torch.Generator().manual_seed(0)
    ecg = torch.randint(-2000, 2000, (3, *signal.shape), generator=generator, dtype=torch.int16)
    batch = {"ecg": ecg, "n_samples": torch.full((3,), n_samples)}
    expected = extractor(list(ecg.numpy()), 500, signal.lead_names, "uV", return_tensors="pt")["input_values"]
    assert torch.equal(SignalInput(extractor, signal)(batch), expected)
    assert SignalInput(extractor, signal, Augmentation(noise_mv=0.1))(batch, training=True).shape == expected.shape


def test_a_feature_extractor_for_another_signal_is_refused_in_one_line():
    other = EcgFeatureExtractor(tuple(reversed(LEAD_NAMES)), sampling_rate=250)
    with pytest.raises(ValueError, match="the exam table has 12 leads .I II.* at 400 Hz; found the feature") as error:
        SignalInput(other, SPEC)
    assert "\n" not in str(error.value)
