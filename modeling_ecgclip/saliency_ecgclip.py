"""Which samples of an ECG moved a label's output: integrated gradients, smoothed, and drawn over the print-out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.ndimage
import torch

from .signal_ecgclip import LEAD_NAMES
from .visualization_ecgclip import cut_strips, plot_ecg


N_STEPS = 32
SMOOTHING_S = 0.02  # standard deviation: blurs within a wave, not between QRS and T
FULL_STRENGTH_PERCENTILE = 99.5  # of the absolute saliency; single samples above it are drawn alike
FOR_COLOUR = "#d81b60"
AGAINST_COLOUR = "#1e88e5"
MIN_DRAWN = 0.12  # of full strength: fainter marks tell nothing and hide the grid
MARK_WIDTH = 6.0  # points


def integrated_gradients(
    model: Any, input_values: torch.Tensor, label: int | str, n_steps: int = N_STEPS, batch_size: int = 8
) -> np.ndarray:
    """
    Returns how much each sample moved a label's logit away from that of a flat ECG.

    The gradient is averaged along the straight way from the flat ECG to this one and multiplied by the difference
    between both. The values add up to the difference of the two logits, as far as `n_steps` suffice. In the flat ECG
    every lead stays at its own median over the recorded samples, so that an electrode's offset counts for nothing;
    padding is the same in both and gets zeros.

    Args:
        model (`EcgForSignalClassification`): In eval mode; its copy for inference will do.
        input_values (`torch.Tensor` of shape `(1, leads, samples)`): From the feature extractor.
        label (`int` or `str`): The label's place or its name.
        n_steps (`int`, defaults to 32): Points at which the gradient is taken.
        batch_size (`int`, defaults to 8): Of them at a time.

    Returns:
        `np.ndarray` float32 of shape `(leads, samples)`, in units of the logit: above 0 for the label.

    Raises:
        `ValueError`: for another shape, more than one ECG, a label that the model does not have, or no steps.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, https://arxiv.org/abs/1703.01365
    """
    if input_values.ndim != 3 or input_values.shape[0] != 1:
        raise ValueError(f"expected input_values of one ECG, (1, leads, samples): found {tuple(input_values.shape)}")
    if n_steps < 1 or batch_size < 1:
        raise ValueError(f"n_steps and batch_size must be at least 1: found {n_steps} and {batch_size}")
    label_id = _label_id(model.config.id2label, label)
    parameter = next(model.parameters())
    ecg = input_values.detach().to(parameter.device, torch.float32)
    flat = _flat_ecg(ecg)
    total = torch.zeros_like(ecg)
    # Midpoints: the first and the last step count as much as the others.
    shares = (torch.arange(n_steps, device=ecg.device) + 0.5) / n_steps
    for some in shares.split(batch_size):
        points = (flat + some[:, None, None] * (ecg - flat)).requires_grad_()  # (batch, leads, samples)
        with torch.enable_grad():
            logits = model(input_values=points).logits[:, label_id]
            (gradient,) = torch.autograd.grad(logits.float().sum(), points)
        total += gradient.sum(dim=0, keepdim=True)
    return ((ecg - flat) * total / n_steps)[0].cpu().numpy().astype(np.float32)


def smooth_saliency(attributions: np.ndarray, sampling_rate: float, smoothing_s: float = SMOOTHING_S) -> np.ndarray:
    """
    Returns attributions blurred in time and scaled to [-1, 1], for drawing.

    Attributions of neighbouring samples change sign with every convolution's filter; what a wave as a whole did shows
    once they are blurred.

    Args:
        attributions (`np.ndarray` of shape `(leads, samples)`): From [`integrated_gradients`].
        sampling_rate (`float`): Hz.
        smoothing_s (`float`, defaults to 0.02): Standard deviation of the Gaussian, in seconds.

    Returns:
        `np.ndarray` float32 of shape `(leads, samples)`; 1 is the 99.5th percentile of the absolute values, and
        everything above it. All zeros where nothing was attributed.
    """
    blurred = scipy.ndimage.gaussian_filter1d(
        np.asarray(attributions, np.float64), smoothing_s * sampling_rate, axis=1
    )
    strongest = float(np.percentile(np.abs(blurred), FULL_STRENGTH_PERCENTILE)) or float(np.abs(blurred).max())
    if strongest == 0:
        return np.zeros(blurred.shape, np.float32)
    return np.clip(blurred / strongest, -1, 1).astype(np.float32)


def lead_shares(attributions: np.ndarray, lead_names: tuple[str, ...] | list[str] = LEAD_NAMES) -> dict[str, float]:
    """Returns each lead's share of the absolute attributions `(leads, samples)`, the largest first; 0 to 1."""
    sums = np.abs(attributions).sum(axis=1)
    shares = sums / sums.sum() if sums.sum() > 0 else sums
    order = np.argsort(-shares, kind="stable")
    return {lead_names[i]: float(shares[i]) for i in order}


def plot_saliency(signal: np.ndarray, sampling_rate: float, saliency: np.ndarray, **kwargs: Any) -> Any:
    """
    Returns the print-out of [`plot_ecg`] with the trace underlaid where it moved the label's output.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`): Millivolts.
        sampling_rate (`float`): Hz.
        saliency (`np.ndarray` of shape `(leads, samples)`):
            From [`smooth_saliency`]: red above 0 (for the label), blue below (against it), the stronger the denser.
        kwargs: Of [`plot_ecg`].

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        `ValueError`: where the shapes differ; otherwise as [`plot_ecg`].
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    if np.shape(saliency) != np.shape(signal):
        raise ValueError(f"expected saliency of the signal's shape {np.shape(signal)}: found {np.shape(saliency)}")
    figure = plot_ecg(signal, sampling_rate, **kwargs)
    axes = figure.axes[0]
    lead_names = list(kwargs.get("lead_names", LEAD_NAMES))
    placed = {name: kwargs[name] for name in ("start_s", "rhythm_lead") if name in kwargs}
    strips = cut_strips(np.asarray(signal), sampling_rate, lead_names=lead_names, **placed)
    # The pulses, which are drawn after the traces, stay as they are.
    for line, strip in zip(axes.lines[: len(strips)], strips, strict=True):
        points = np.column_stack(line.get_data())  # (samples, 2) in mm
        strength = saliency[lead_names.index(strip.lead), strip.first : strip.first + len(points)]
        edges = np.flatnonzero(np.abs(strength[:-1]) >= MIN_DRAWN)
        colours = np.empty((edges.size, 4))
        colours[:, :3] = np.where(strength[edges, None] > 0, to_rgb(FOR_COLOUR), to_rgb(AGAINST_COLOUR))
        colours[:, 3] = 0.65 * np.abs(strength[edges])
        segments = np.stack([points[edges], points[edges + 1]], axis=1)  # (segments, 2, 2)
        axes.add_collection(
            LineCollection(list(segments), colors=colours, linewidths=MARK_WIDTH, capstyle="butt", zorder=2),
            autolim=False,
        )
    return figure


def _label_id(id2label: Mapping[int, str], label: int | str) -> int:
    """A label's place in the model's output."""
    names = {name: int(i) for i, name in id2label.items()}
    if label in names:
        return names[label]
    if isinstance(label, int) and not isinstance(label, bool) and label in names.values():
        return label
    raise ValueError(f"unknown label {label!r}: expected one of {', '.join(names)}")


def _flat_ecg(ecg: torch.Tensor) -> torch.Tensor:
    """(1, leads, samples): each lead at its median over the recorded samples, zeros in the padding."""
    recorded = torch.nonzero((ecg[0] != 0).any(dim=0))[:, 0]
    flat = torch.zeros_like(ecg)
    if recorded.numel() > 0:
        first, last = int(recorded[0]), int(recorded[-1]) + 1
        flat[:, :, first:last] = ecg[:, :, first:last].median(dim=2, keepdim=True).values
    return flat


__all__ = ["integrated_gradients", "lead_shares", "plot_saliency", "smooth_saliency"]
