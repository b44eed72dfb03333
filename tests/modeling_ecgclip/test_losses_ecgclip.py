import pytest
import torch
import torch.nn.functional as F

from modeling_ecgclip.losses_ecgclip import (
    clip_loss,
    contrastive_targets,
    gather_rows,
    measurement_loss,
    multilabel_loss,
    siglip_loss,
)
from tests.two_processes import run_two


BATCH, WIDTH = 7, 5
REPORT_IDS = torch.tensor([3, 1, 3, -1, -1, 1, 0])


def raw_features() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ecg = torch.randn(BATCH, WIDTH, generator=generator, requires_grad=True)
    text = torch.randn(BATCH, WIDTH, generator=generator, requires_grad=True)
    return ecg, text, torch.tensor(1.5, requires_grad=True)


def loss_of(ecg, text, scale, ids, kind="clip", gather=True):
    ecg, text = F.normalize(ecg, dim=1), F.normalize(text, dim=1)
    if kind == "siglip":
        return siglip_loss(ecg, text, scale, scale - 4, ids, gather)  # a bias that has a gradient too
    return clip_loss(ecg, text, scale, ids, gather)


def test_paired_loss_is_cross_entropy_on_the_diagonal():
    ecg, text, scale = raw_features()
    logits = F.normalize(ecg, dim=1) @ F.normalize(text, dim=1).T * scale.exp()
    diagonal = torch.arange(BATCH)
    expected = (F.cross_entropy(logits, diagonal) + F.cross_entropy(logits.T, diagonal)) / 2
    torch.testing.assert_close(loss_of(ecg, text, scale, None), expected)


def test_same_report_targets_share_mass_and_missing_reports_match_themselves_alone():
    targets = contrastive_targets(REPORT_IDS, REPORT_IDS, 0)
    assert targets[0].tolist() == [0.5, 0, 0.5, 0, 0, 0, 0]
    assert targets[3].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert targets.sum(dim=1).tolist() == [1.0] * BATCH


def test_distinct_reports_make_both_kinds_of_positives_equal():
    features = raw_features()
    torch.testing.assert_close(loss_of(*features, torch.arange(BATCH)), loss_of(*features, None))


def test_low_precision_features_are_computed_in_float32():
    ecg, text, scale = raw_features()
    low = clip_loss(F.normalize(ecg, dim=1).bfloat16(), F.normalize(text, dim=1).bfloat16(), scale)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, loss_of(ecg, text, scale, None), rtol=0.02, atol=0.02)


def test_multilabel_loss_weights_positives():
    logits, labels = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    plain = multilabel_loss(logits, labels)
    weighted = multilabel_loss(logits, labels, pos_weight=torch.tensor([3.0, 3.0]))
    torch.testing.assert_close(weighted, plain * 2)


def test_siglip_loss_asks_each_pair_once():
    ecg, text, scale = raw_features()
    similarity = F.normalize(ecg, dim=1) @ F.normalize(text, dim=1).T * scale.exp() - 2
    for ids, same in ((None, torch.eye(BATCH)), (REPORT_IDS, (contrastive_targets(REPORT_IDS, REPORT_IDS, 0) > 0))):
        expected = F.binary_cross_entropy_with_logits(similarity, same.float(), reduction="sum") / BATCH
        found = siglip_loss(F.normalize(ecg, dim=1), F.normalize(text, dim=1), scale, torch.tensor(-2.0), ids)
        torch.testing.assert_close(found, expected)


CASES = {
    f"{kind}-{positives}-{name}{'-known' * known}": (kind, ids, sizes, known)
    for kind in ("clip", "siglip")
    for positives, ids in (("paired", None), ("same_report", REPORT_IDS))
    for name, sizes in (("nearly_even", [4, 3]), ("uneven", [6, 1]))
    for known in (False, True)  # the processes' numbers of exams
}


def _worker(rank, port, folder):
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for name, (kind, ids, sizes, known) in CASES.items():
        ecg, text, scale = raw_features()
        mine = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        loss = loss_of(
            ecg[mine], text[mine], scale, None if ids is None else ids[mine], kind, sizes if known else True
        )
        loss.backward()
        # What DistributedDataParallel does to losses' gradients: the mean over processes.
        results = [loss.detach(), scale.grad, ecg.grad, text.grad]
        for result in results:
            torch.distributed.all_reduce(result)
            result.div_(2)
        if rank == 0:
            torch.save(results, f"{folder}/{name}.pt")
    with pytest.raises(ValueError, match=f"process {rank} was to have 5 rows: found 7"):
        gather_rows(raw_features()[0], [5, 5])
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """Folder with the results of two processes."""
    return run_two(_worker, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one_with_the_joined_batch(name, of_two):
    found = torch.load(of_two / f"{name}.pt", weights_only=True)
    features = raw_features()
    kind, ids, _, _ = CASES[name]
    loss = loss_of(*features, ids, kind)
    loss.backward()
    expected = [loss.detach(), features[2].grad, features[0].grad, features[1].grad]
    for a, b in zip(found, expected, strict=True):
        assert ((a - b).abs().max() / b.abs().max()).item() < 1e-5


def test_measurements_count_by_their_spread_and_where_they_are_known():
    unknown = float("nan")
    told = torch.tensor([[60.0, 0.2], [75.0, 9.0]], requires_grad=True)
    targets = torch.tensor([[62.0, unknown], [55.0, 1.0]])
    spread = torch.tensor([10.0, 2.0])
    loss = measurement_loss(told, targets, spread)
    # Of 0.2, 2 and 4 spreads: squared below half a spread, and beyond it by size.
    assert loss.item() == pytest.approx((0.2**2 + (2 - 0.25) + (4 - 0.25)) / 3)
    loss.backward()
    assert told.grad[0, 1] == 0 and torch.isfinite(told.grad).all()
    assert measurement_loss(told, torch.full_like(targets, unknown), spread).item() == 0


def test_parts_of_a_step_add_up_to_the_whole_of_its_measurements():
    """However a step's exams are shared out over passes and processes: the mean is over all that is known of it."""
    generator = torch.Generator().manual_seed(1)
    told = torch.randn(12, 5, generator=generator, requires_grad=True)
    targets = torch.randn(12, 5, generator=generator)
    targets[torch.rand(12, 5, generator=generator) < 0.4] = float("nan")
    targets[:4] = float("nan")  # a part that knows nothing
    spread = torch.rand(5, generator=generator) + 0.5
    whole = measurement_loss(told, targets, spread)
    (gradient,) = torch.autograd.grad(whole, told)
    n_known = (~targets.isnan()).sum()
    parts = [
        measurement_loss(some, of, spread, n_known) for some, of in zip(told.split(4), targets.split(4), strict=True)
    ]
    (in_parts,) = torch.autograd.grad(sum(parts), told)
    assert sum(parts).item() == pytest.approx(whole.item())
    torch.testing.assert_close(in_parts, gradient)
