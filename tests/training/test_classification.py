import numpy as np
import pytest
import torch

from modeling_ecgclip.losses_ecgclip import multilabel_loss
from training.classification import MAX_POS_WEIGHT, balanced_pos_weight


def test_positives_and_negatives_weigh_the_same_together():
    labels = np.array([[1, 1, 0, -1], [0, 1, 0, 1], [0, 1, 0, -1], [0, 1, -1, 0]], dtype=np.int8)
    weight = balanced_pos_weight(labels)
    assert weight.tolist() == [3.0, 1.0, 1.0, 1.0]  # the second has no negative, the third no positive
    logits = torch.zeros(4, 4, requires_grad=True)
    multilabel_loss(logits, torch.from_numpy(labels), weight).backward()
    assert logits.grad[:, 0].sum().item() == pytest.approx(0, abs=1e-7)  # at even odds nothing pulls either way


def test_a_rare_label_does_not_drown_the_others():
    labels = np.zeros((5000, 1), dtype=np.int8)
    labels[0] = 1
    assert balanced_pos_weight(labels).item() == MAX_POS_WEIGHT
