"""The arm to beat: a plain ECG trainer, float32 and eager, with HDF5 reads.

It shares no code with the project, so that no improvement of the project improves it. Reading follows published
trainers: the tracings of a batch by sorted rows of `(exams, samples, leads)`, turned to (batch, leads, samples); the
loop reads the loss of every step.
"""

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import torch
from torch import nn


class Conv(nn.Conv1d):
    """Kernel k with stride s: n samples to n / s."""

    def __init__(self, inputs: int, outputs: int, k: int, s: int = 1, bias: bool = True):
        super().__init__(inputs, outputs, k, s, padding=(k - s + 1) // 2, bias=bias)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, k: int, s: int, dropout: float):
        super().__init__()
        self.conv1, self.norm1 = Conv(inputs, outputs, k), nn.BatchNorm1d(outputs)
        self.conv2, self.norm2 = Conv(outputs, outputs, k, s), nn.BatchNorm1d(outputs)
        self.dropout = nn.Dropout(dropout)
        self.pool = nn.MaxPool1d(s)
        self.widen = nn.Conv1d(inputs, outputs, 1)

    def forward(self, lower: torch.Tensor, skip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lower = self.dropout(torch.relu(self.norm1(self.conv1(lower))))
        skip = self.conv2(lower) + self.widen(self.pool(skip))
        return self.dropout(torch.relu(self.norm2(skip))), skip


class PlainResNet(nn.Module):
    """The encoder of Fernandes et al. and a linear head; parameters in the order of the project's own."""

    def __init__(self, config: dict[str, Any], n_labels: int):
        super().__init__()
        k, width, dropout = config["kernel_size"], config["stem_channels"], config["dropout"]
        stem: list[nn.Module] = [
            Conv(12, width, k, config["stem_stride"], bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        ]
        for i in range(1, config["stem_convs"]):
            stem += [Conv(width, width, k), nn.BatchNorm1d(width)]
            stem += [nn.ReLU()] if i < config["stem_convs"] - 1 else []
            stem += [nn.Dropout(dropout)]
        self.stem = nn.Sequential(*stem)
        widths = [width, *config["block_channels"]]
        self.blocks = nn.ModuleList(
            Block(widths[i], widths[i + 1], k, s, dropout) for i, s in enumerate(config["block_strides"])
        )
        self.head = nn.LazyLinear(n_labels)

    def forward(self, ecg: torch.Tensor) -> torch.Tensor:
        lower = skip = self.stem(ecg)
        for block in self.blocks:
            lower, skip = block(lower, skip)
        return self.head(lower.flatten(1))


def make_model(config: dict[str, Any], weights: list[torch.Tensor], device: torch.device) -> PlainResNet:
    """A plain model with the weights of the project's, tensor by tensor."""
    model = PlainResNet(config, n_labels=len(weights[-1])).to(device)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 12, 4096, device=device))  # the head takes its width
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    return model


def read(file: h5py.File, rows: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Tracings (batch, 12, 4096) in millivolts and labels (batch, labels)."""
    rows = np.sort(rows)
    ecg = torch.from_numpy(file["tracings"][rows]).to(device).transpose(1, 2)
    return ecg, torch.from_numpy(file["labels"][rows]).to(device)


def training(
    model: PlainResNet, file: h5py.File, batches: Iterator[list[int]], device: torch.device, bf16: bool = False
) -> Iterator[float]:
    """Yields the loss of each step; `bf16`: under torch's own autocast, and nothing else."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.BCEWithLogitsLoss()
    for rows in batches:
        ecg, labels = read(file, np.array(rows), device)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = criterion(model(ecg), labels)
        loss.backward()
        optimizer.step()
        yield loss.item()


def inference(model: PlainResNet, file: h5py.File, batch_size: int, device: torch.device) -> Iterator[np.ndarray]:
    """Yields the probabilities of batch after batch, the file again and again."""
    model.eval()
    n_exams = len(file["tracings"])
    start = 0
    while True:
        with torch.no_grad():
            ecg, _ = read(file, np.arange(start, start + batch_size), device)
            yield torch.sigmoid(model(ecg)).cpu().numpy()
        start = (start + batch_size) % (n_exams - batch_size)
