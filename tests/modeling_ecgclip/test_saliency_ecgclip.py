import numpy as np
import pytest
import torch

from modeling_ecgclip import EcgResNetConfig, EcgResNetForSignalClassification, plot_ecg
from modeling_ecgclip.saliency_ecgclip import (
    MARK_WIDTH,
    integrated_gradients,
    lead_shares,
    plot_saliency,
    smooth_saliency,
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny")).eval()
    torch.nn.init.normal_(model.classifier.weight, std=0.05)
    return model


@pytest.fixture(scope="module")
def input_values():
    """Noise in the middle 3000 samples, each lead with an offset; zeros before and behind."""
    generator = np.random.default_rng(0)
    values = np.zeros((1, 12, 4096), np.float32)
    values[0, :, 548:3548] = generator.normal(size=(12, 3000)) + np.arange(12)[:, None]
    return torch.from_numpy(values)


def flat(input_values):
    values = input_values.clone()
    values[:, :, 548:3548] = values[:, :, 548:3548].median(dim=2, keepdim=True).values
    return values


@pytest.mark.parametrize("label", ["1dAVb", "AF", 5])
def test_attributions_add_up_to_the_change_of_the_logit(model, input_values, label):
    attributions = integrated_gradients(model, input_values, label, n_steps=128)
    label_id = {"1dAVb": 0, "AF": 4}.get(label, label)
    with torch.no_grad():
        change = (model(input_values).logits - model(flat(input_values)).logits)[0, label_id].item()
    assert attributions.shape == (12, 4096)
    assert attributions.sum() == pytest.approx(change, rel=0.03)


def test_padding_and_flat_leads_get_nothing(model, input_values):
    values = input_values.clone()
    values[0, 3] = 0
    attributions = integrated_gradients(model, values, "AF", n_steps=4)
    assert np.abs(attributions[:, :548]).max() == 0
    assert np.abs(attributions[3]).max() == 0
    assert np.abs(attributions[5]).max() > 0
    assert np.abs(integrated_gradients(model, torch.zeros(1, 12, 4096), "AF", n_steps=2)).max() == 0


def test_batches_and_folded_copy_change_nothing(model, input_values):
    whole = integrated_gradients(model, input_values, "SB", n_steps=6, batch_size=6)
    scale = np.abs(whole).max()
    np.testing.assert_allclose(
        integrated_gradients(model, input_values, "SB", n_steps=6, batch_size=4), whole, atol=1e-4 * scale
    )
    folded = integrated_gradients(model.for_inference(), input_values, "SB", n_steps=6)
    np.testing.assert_allclose(folded, whole, atol=1e-3 * scale)


def test_model_is_left_as_it_was(model, input_values):
    integrated_gradients(model, input_values, "SB", n_steps=2)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not input_values.requires_grad


def test_wrong_arguments_are_named(model, input_values):
    with pytest.raises(ValueError, match="unknown label 'VT': expected one of 1dAVb, RBBB"):
        integrated_gradients(model, input_values, "VT")
    with pytest.raises(ValueError, match="unknown label 6"):
        integrated_gradients(model, input_values, 6)
    with pytest.raises(ValueError, match=r"one ECG, \(1, leads, samples\): found \(2, 12, 4096\)"):
        integrated_gradients(model, torch.zeros(2, 12, 4096), "AF")
    with pytest.raises(ValueError, match="n_steps and batch_size must be at least 1"):
        integrated_gradients(model, input_values, "AF", n_steps=0)


def test_smoothing_keeps_sign_and_place():
    attributions = np.zeros((12, 1000))
    attributions[2, 500], attributions[7, 100] = 3.0, -6.0
    smooth = smooth_saliency(attributions, 400)
    at = np.arange(1000)
    assert (smooth[2] * at).sum() / smooth[2].sum() == pytest.approx(500)
    assert (smooth[7] * at).sum() / smooth[7].sum() == pytest.approx(100)
    assert smooth[2].min() >= 0 >= smooth[7].max()
    assert smooth[7].min() == -1
    assert np.abs(smooth[0]).max() == 0
    assert np.abs(smooth_saliency(np.zeros((12, 50)), 400)).max() == 0


def test_lead_shares():
    attributions = np.zeros((12, 4))
    attributions[6], attributions[1] = -3, 1
    shares = lead_shares(attributions)
    assert list(shares.items())[:2] == [("V1", 0.75), ("II", 0.25)]
    assert sum(lead_shares(np.zeros((12, 4))).values()) == 0


@pytest.mark.parametrize(("n", "start_s"), [(4096, 0.0), (2934, 0.0), (6000, 3.0), (600, 0.0)])
def test_marks_lie_on_their_samples(n, start_s):
    signal = np.random.default_rng(0).normal(size=(12, n))
    lead, sample = 7, round((start_s + 0.6 * min(10, n / 400 - start_s)) * 400)  # V2, in the third column
    saliency = np.zeros((12, n))
    saliency[lead, sample] = -1
    figure = plot_saliency(signal, 400, saliency, start_s=start_s)
    marks = [lines for lines in figure.axes[0].collections if lines.get_linewidth()[0] == MARK_WIDTH]
    segments = [segment for lines in marks for segment in lines.get_segments()]
    assert len(segments) == 1
    # The trace has the sample's value there, 10 mm/mV about a median that two more samples fix.
    traces = [line.get_data() for line in figure.axes[0].lines if len(line.get_xdata()) > 6]
    x, y = traces[6]
    at = int(np.flatnonzero(x == segments[0][0, 0])[0])
    assert segments[0][0, 1] == y[at]
    assert np.diff(y[at : at + 3]) == pytest.approx(10 * np.diff(signal[lead, sample : sample + 3]))


def test_traces_stay_as_they_are():
    signal = np.random.default_rng(0).normal(size=(12, 4000))
    plain = plot_ecg(signal, 400, rhythm_lead="V1")
    marked = plot_saliency(signal, 400, np.ones((12, 4000)), rhythm_lead="V1")
    assert len(marked.axes[0].lines) == len(plain.axes[0].lines)
    for one, other in zip(plain.axes[0].lines, marked.axes[0].lines, strict=True):
        np.testing.assert_array_equal(one.get_data(), other.get_data())
    with pytest.raises(ValueError, match="saliency of the signal's shape"):
        plot_saliency(signal, 400, np.ones((12, 10)))
