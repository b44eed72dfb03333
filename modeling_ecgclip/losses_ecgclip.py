"""Losses of both stages, exact over several processes."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F

from .labels_ecgclip import UNKNOWN_LABEL


IGNORED_LABEL = -100  # transformers' own sign of a label that is left out of the loss
NO_REPORT = -1  # in `report_ids`: never equal to another exam's


def multilabel_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    pos_weight: torch.Tensor | None = None,
    n_known: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Returns the mean binary cross-entropy over the known labels.

    Args:
        logits (`torch.Tensor` of shape `(batch, num_labels)`): Before the sigmoid.
        labels (`torch.Tensor` of shape `(batch, num_labels)`): 1, 0, or below 0 where unknown; any dtype.
        pos_weight (`torch.Tensor` of shape `(num_labels,)`, *optional*): Weight of the positives of each label.
        n_known (`torch.Tensor`, *optional*):
            Scalar to divide the sum by in place of this batch's own number of known labels: where the batch is a part
            of a larger one, that one's.

    Returns:
        `torch.Tensor`: scalar float32; 0 where every label of the batch is unknown.
    """
    labels = labels.to(torch.float32)
    known = (labels >= 0).to(torch.float32)
    losses = F.binary_cross_entropy_with_logits(
        logits.float(), labels.clamp(min=0), pos_weight=pos_weight, reduction="none"
    )
    return (losses * known).sum() / (known.sum() if n_known is None else n_known).clamp(min=1)


def regression_loss(outputs: torch.Tensor, targets: torch.Tensor, n_known: torch.Tensor | None = None) -> torch.Tensor:
    """
    Returns the mean squared error over the known targets.

    Args:
        outputs (`torch.Tensor` of shape `(batch, num_labels)`): The model's.
        targets (`torch.Tensor` of shape `(batch, num_labels)`): NaN where unknown.
        n_known (`torch.Tensor`, *optional*): As in [`multilabel_loss`].

    Returns:
        `torch.Tensor`: scalar float32; 0 where every target is unknown.
    """
    targets = targets.to(torch.float32)
    known = ~targets.isnan()
    errors = (outputs.float() - torch.where(known, targets, 0.0)) ** 2 * known
    return errors.sum() / (known.sum() if n_known is None else n_known).clamp(min=1)


def measurement_loss(
    measurements: torch.Tensor, targets: torch.Tensor, spread: torch.Tensor, n_known: torch.Tensor | None = None
) -> torch.Tensor:
    """
    Returns the mean smooth L1 loss of measurements over the known targets, each error in units of its spread.

    Beyond half a spread an error counts by its size, not by its square: what was measured of an ECG may be far off.

    Args:
        measurements (`torch.Tensor` of shape `(batch, numbers)`): The model's.
        targets (`torch.Tensor` of shape `(batch, numbers)`): NaN where unknown.
        spread (`torch.Tensor` of shape `(numbers,)`): Of the training exams.
        n_known (`torch.Tensor`, *optional*): As in [`multilabel_loss`].

    Returns:
        `torch.Tensor`: scalar float32; 0 where every target is unknown.
    """
    known = ~targets.isnan()
    errors = (measurements.float() - torch.where(known, targets.float(), 0.0)) / spread
    losses = F.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none", beta=0.5) * known
    return losses.sum() / (known.sum() if n_known is None else n_known).clamp(min=1)


def single_label_loss(logits: torch.Tensor, labels: torch.Tensor, n_known: torch.Tensor | None = None) -> torch.Tensor:
    """
    Returns the mean cross-entropy of exams whose one label is known.

    Args:
        logits (`torch.Tensor` of shape `(batch, num_labels)`): Before the softmax.
        labels (`torch.Tensor` of shape `(batch,)`): Place of the label in `id2label`; below 0 where unknown.
        n_known (`torch.Tensor`, *optional*): As in [`multilabel_loss`].

    Returns:
        `torch.Tensor`: scalar float32; 0 where every label is unknown.
    """
    labels = labels.long()
    known = labels >= 0
    losses = F.cross_entropy(logits.float(), labels.clamp(min=0), reduction="none")
    return (losses * known).sum() / (known.sum() if n_known is None else n_known).clamp(min=1)


def labelled_loss(logits: torch.Tensor, labels: torch.Tensor, problem_type: str) -> torch.Tensor:
    """
    Returns the loss that belongs to a problem type, after a look at the labels.

    Args:
        logits (`torch.Tensor` of shape `(batch, num_labels)`): The model's.
        labels (`torch.Tensor`): See [`EcgForSignalClassification`].
        problem_type (`str`): As in transformers.

    Raises:
        `ValueError`: for labels of another shape, or with a value that no label has.
    """
    if problem_type == "single_label_classification":
        _check_labels(labels, logits.shape[:1], (0, logits.shape[1] - 1), problem_type)
        return single_label_loss(logits, labels)
    shape = logits.shape
    if shape[1] == 1 and labels.shape == shape[:1]:
        labels = labels[:, None]  # left to broadcasting, (batch,) against (batch, 1) would compare all with all
    if problem_type == "regression":
        _check_labels(labels, shape, None, problem_type)
        return regression_loss(logits, labels)
    _check_labels(labels, shape, (0, 1), problem_type)
    return multilabel_loss(logits, labels)


def _check_labels(labels: torch.Tensor, shape: torch.Size, allowed: tuple[int, int] | None, problem_type: str) -> None:
    """Refuses another shape, and values that are neither allowed nor a sign for unknown."""
    if labels.shape != shape:
        raise ValueError(f"{problem_type} needs labels of shape {tuple(shape)}: found {tuple(labels.shape)}")
    if allowed is None or torch.compiler.is_compiling():
        return
    lowest, highest = allowed
    unknown = (labels == UNKNOWN_LABEL) | (labels == IGNORED_LABEL)
    wrong = ~(((labels >= lowest) & (labels <= highest)) | unknown)  # NaN too
    if wrong.any():
        raise ValueError(
            f"{problem_type} needs labels from {lowest} to {highest}, or {UNKNOWN_LABEL} or {IGNORED_LABEL} "
            f"where unknown: found {labels[wrong][0].item():g}"
        )


class _GatherRows(torch.autograd.Function):
    """All processes' rows, in order of rank; the gradient is the sum of what every process asks of the own rows."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, sizes: list[int]) -> torch.Tensor:
        ctx.start, ctx.size = sum(sizes[: dist.get_rank()]), rows.shape[0]
        # all_gather needs equal shapes: pad to the largest process's number of rows, then cut.
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: rows.shape[0]] = rows
        gathered = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(gathered, padded)
        return torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        grad = grad.contiguous()
        dist.all_reduce(grad)
        return grad[ctx.start : ctx.start + ctx.size], None


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(rows: torch.Tensor, n_rows: list[int] | None = None) -> tuple[torch.Tensor, int]:
    """
    Returns the rows of all processes and the place of this process's first row among them.

    Unlike `torch.distributed.all_gather` it carries the gradient, and processes may bring different numbers of rows.

    Args:
        rows (`torch.Tensor` of shape `(local_rows, ...)`): Same trailing shape and dtype in every process.
        n_rows (`list[int]`, *optional*):
            Of each process, where it is known; left out, they are exchanged first, for which the processor waits.

    Returns:
        `(torch.Tensor of shape (global_rows, ...), int)`
    """
    if _world_size() == 1:
        return rows, 0
    if n_rows is None:
        sizes = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(_world_size())]
        dist.all_gather(sizes, torch.tensor([rows.shape[0]], device=rows.device))
        n_rows = [int(size) for size in sizes]
    elif n_rows[dist.get_rank()] != len(rows):
        raise ValueError(f"process {dist.get_rank()} was to have {n_rows[dist.get_rank()]} rows: found {len(rows)}")
    return _GatherRows.apply(rows, n_rows), sum(n_rows[: dist.get_rank()])


def contrastive_targets(report_ids: torch.Tensor, all_report_ids: torch.Tensor, offset: int) -> torch.Tensor:
    """
    Returns targets that share each row's mass equally over the columns with the same report.

    Args:
        report_ids (`torch.Tensor` of shape `(local,)`): Ids of this process's exams, -1 where there is no report.
        all_report_ids (`torch.Tensor` of shape `(global,)`): Ids of all columns.
        offset (`int`): Column of the first local exam.

    Returns:
        `torch.Tensor` of shape `(local, global)`, float32, rows summing to 1.
    """
    same = (report_ids[:, None] == all_report_ids[None, :]) & (report_ids[:, None] != NO_REPORT)
    rows = torch.arange(len(report_ids), device=report_ids.device)
    same[rows, rows + offset] = True  # an exam always matches its own text
    return same.float() / same.sum(dim=1, keepdim=True)


def clip_loss(
    ecg_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    logit_scale: torch.Tensor,
    report_ids: torch.Tensor | None = None,
    gather: bool | list[int] = False,
) -> torch.Tensor:
    """
    Returns the symmetric contrastive loss, with the whole global batch as negatives where `gather` is set.

    Then each process computes its own rows against all columns. The mean of the processes' losses (and gradients, as
    DistributedDataParallel takes it) equals the loss (and gradient) of one process with the joined batch, also when
    the processes hold different numbers of exams.

    Args:
        ecg_embeds (`torch.Tensor` of shape `(batch, projection_dim)`): L2-normalised, this process's exams.
        text_embeds (`torch.Tensor` of shape `(batch, projection_dim)`): L2-normalised, in the same order.
        logit_scale (`torch.Tensor`): Scalar, natural logarithm of the inverse temperature.
        report_ids (`torch.Tensor` of shape `(batch,)`, *optional*):
            Where given, exams with equal ids are positives of each other ("same_report"); left out, each exam has one
            positive ("paired", the paper).
        gather (`bool` or `list[int]`, defaults to `False`):
            Join the batches of all processes. Every process must then call this together. A list says how many exams
            each of them has, in order of rank: otherwise they are asked, and the processor waits for the answer.

    Returns:
        `torch.Tensor`: scalar float32, times `world_size * local / global`, which is 1 for even batches.

    Source: Radford et al. 2021, section 2.3 (https://arxiv.org/abs/2103.00020); shared targets as in Khosla et al.
    2020 (https://arxiv.org/abs/2004.11362), equation 2.
    """
    known_rows = gather if isinstance(gather, list) else None
    # The logits reach e^4.6 and are exponentiated: float32, whatever autocast or the weights are.
    with torch.autocast(ecg_embeds.device.type, enabled=False):
        ecg_embeds, text_embeds, scale = ecg_embeds.float(), text_embeds.float(), logit_scale.float().exp()
        both, offset = torch.cat([ecg_embeds, text_embeds], dim=1), 0  # (local, 2 projection_dim)
        if gather:
            both, offset = gather_rows(both, known_rows)  # one collective for both
        all_ecg, all_text = both.split(ecg_embeds.shape[1], dim=1)  # (global, projection_dim)
        logits_per_ecg = scale * ecg_embeds @ all_text.T  # (local, global)
        logits_per_text = scale * text_embeds @ all_ecg.T  # (local, global)
        if report_ids is None:
            targets = torch.arange(len(ecg_embeds), device=ecg_embeds.device) + offset
        else:
            all_ids = gather_rows(report_ids, known_rows)[0] if gather else report_ids
            targets = contrastive_targets(report_ids, all_ids, offset)
        loss = F.cross_entropy(logits_per_ecg, targets, reduction="sum")
        loss = (loss + F.cross_entropy(logits_per_text, targets, reduction="sum")) / 2
        return loss * ((_world_size() if gather else 1) / len(both))


def siglip_loss(
    ecg_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    logit_scale: torch.Tensor,
    logit_bias: torch.Tensor,
    report_ids: torch.Tensor | None = None,
    gather: bool | list[int] = False,
) -> torch.Tensor:
    """
    Returns the sigmoid contrastive loss: every pair of an ECG and a text is a yes-or-no question of its own.

    Args:
        ecg_embeds, text_embeds, logit_scale, report_ids, gather:
            As in [`clip_loss`]. With `report_ids` all texts equal to an exam's own count as yes.
        logit_bias (`torch.Tensor`): Scalar, learned; starts low, since nearly all pairs are a no.

    Returns:
        `torch.Tensor`: scalar float32, the sum over all pairs divided by the number of exams. Over processes its mean
        is the joined batch's, as in [`clip_loss`].

    Source: Zhai et al. 2023, algorithm 1 (https://arxiv.org/abs/2303.15343).
    """
    known_rows = gather if isinstance(gather, list) else None
    with torch.autocast(ecg_embeds.device.type, enabled=False):
        all_text, offset = text_embeds.float(), 0
        if gather:
            all_text, offset = gather_rows(all_text, known_rows)  # (global, projection_dim)
        logits = logit_scale.float().exp() * ecg_embeds.float() @ all_text.T + logit_bias.float()  # (local, global)
        ids = torch.arange(len(ecg_embeds), device=ecg_embeds.device) + offset
        all_ids = torch.arange(len(all_text), device=ecg_embeds.device)
        if report_ids is not None:
            ids, all_ids = report_ids, gather_rows(report_ids, known_rows)[0] if gather else report_ids
        same = contrastive_targets(ids, all_ids, offset) > 0
        loss = -F.logsigmoid(torch.where(same, logits, -logits)).sum()
        return loss * ((_world_size() if gather else 1) / len(all_text))
