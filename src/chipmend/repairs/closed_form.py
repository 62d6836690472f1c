"""The closed form: the best weights when some of them have to be zero, or cannot be chosen.

Around its optimum ``w`` the error of one output is ``1/2 (x - w)^T H (x - w)``, where ``H`` are the
damped second moments of its inputs. With the faulty weights ``F`` held at zero, the best are

    x = w - Hinv[:,F] (Hinv[F,F])^-1 w_F,   or on the healthy ones   x_S = w_S + H_SS^-1 H_SF w_F,

whichever takes fewer operations. Outputs with the same faulty set share one factorization, and
factorizations of about the same size are one batch. Inputs fewer than weights leave ``H`` unformed:
by the push-through identity ``x_S = w_S + X_S^T (X_S X_S^T + d)^-1 X_F w_F``.

References:
    [Hassibi1993] Hassibi, Stork, "Second order derivatives for network pruning: optimal brain
        surgeon", NIPS 1993.
    [Frantar2022] Frantar, Alistarh, "Optimal brain compression", NeurIPS 2022.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import embedding_bag

from chipmend.errors import RepairError
from chipmend.network.grams import Gram
from chipmend.repairs.factors import cholesky_, half_solve, inverse_of, solve
from chipmend.repairs.fault_classes import Batch, FaultClass, batches, fault_classes

LARGEST_BATCH = 2**23
"""Numbers in the matrices that are factorized at once: 32 MiB of single precision, so that much of
them is still in the cache when they are factorized."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of the inputs of one weight, with damping on the diagonal: ``H``.

    Args:
        matrix: One for every group of outputs that has inputs of its own.
        damping: What was added to each diagonal.
        inverse: The inverse, where that is known.
    """

    matrix: Float[Tensor, "blocks k k"]
    damping: Float[Tensor, " blocks"]
    inverse: Float[Tensor, "blocks k k"] | None = None

    def with_inverse(self) -> "Moments":
        """The same with its inverse, for many chips to use."""
        return replace(self, inverse=_inverse(self))

    def power(self, weights: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """``w^T H w`` of every output."""
        return (self.pulled(weights) * weights).sum(1)

    def pulled(self, weights: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """``H w`` of every output."""
        return _by_block(weights, self.matrix)

    def loss_alone(self, weights: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """What losing each weight alone costs: ``w^2 / (2 Hinv_ii)``."""
        each = 0.5 / _inverse(self).diagonal(dim1=1, dim2=2)
        return weights.square() * each.repeat_interleave(len(weights) // len(each), 0)

    def damping_of(self, outputs: int) -> Float[Tensor, " n"]:
        """The damping of every output's block."""
        return self.damping.repeat_interleave(outputs // len(self.damping))


@dataclass(frozen=True, eq=False)
class Inputs:
    """The inputs themselves, where they are fewer than the weights of an output.

    Args:
        rows: Inputs, divided by the root of their number, so that ``H = X^T X + d``.
        damping: The ``d`` on the diagonal.
    """

    rows: Float[Tensor, "samples k"]
    damping: Float[Tensor, ""]

    @classmethod
    def of(cls, rows: Float[Tensor, "samples k"], share: float) -> "Inputs":
        """Inputs as they come, with a share of their mean second moment on the diagonal."""
        rows = rows / len(rows) ** 0.5
        return cls(rows, share_of(rows.square().sum() / rows.shape[1], share))

    def with_inverse(self) -> "Inputs":
        """The same: an inverse would be too large."""
        return self

    def power(self, weights: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """``w^T H w`` of every output."""
        return (weights @ self.rows.mT).square().sum(1) + self.damping * weights.square().sum(1)

    def loss_alone(self, weights: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """What losing each weight costs at most: ``H_ii w^2 / 2``, nothing making up for it."""
        return weights.square() * (self.rows.square().sum(0) + self.damping) / 2

    def damping_of(self, outputs: int) -> Float[Tensor, " n"]:
        """The damping of every output."""
        return self.damping.expand(outputs)


Known = Moments | Inputs
"""What is known of the inputs of one weight."""


def damped(gram: Gram, damping: float, *, centred: bool) -> Known:
    """What the closed form has to know of a weight's inputs.

    Args:
        gram: The Gram of the inputs.
        damping: Share of the mean second moment that is added to every diagonal. Inputs that are
            all zero get 1, which leaves their weights alone.
        centred: Whether the moments are about the mean.

    Returns:
        Damped moments, without an inverse; of a wide weight, its inputs.
    """
    if gram.rows is not None:
        return Inputs.of(gram.rows if centred else gram.rows + gram.mean, damping)
    assert gram.moments is not None
    moments = gram.moments.clone()
    if not centred:
        moments.baddbmm_(gram.mean[:, :, None], gram.mean[:, None])
    added = share_of(moments.diagonal(dim1=1, dim2=2).mean(1), damping)
    moments.diagonal(dim1=1, dim2=2).add_(added[:, None])
    return Moments(moments, added)


def share_of(moment: Float[Tensor, "*blocks"], share: float) -> Float[Tensor, "*blocks"]:
    """A share of a mean second moment to add to a diagonal; 1 where all inputs are zero."""
    return torch.where(moment > 0, share * moment, 1.0)


@dataclass(frozen=True, eq=False)
class Compensated:
    """What the closed form gives.

    Args:
        weights: The best weights that are zero where they have to be.
        loss: What that costs each output, in units of half its mean squared error.
        multiply_adds: What it took to compute.
    """

    weights: Float[Tensor, "n k"]
    loss: Float[Tensor, " n"]
    multiply_adds: int


def compensated(
    optimum: Float[Tensor, "n k"],
    faulty: Bool[Tensor, "n k"],
    known: Known,
    held: Float[Tensor, "n k"] | None = None,
) -> Compensated:
    """The best weights that are zero, or something else, where they have to be.

    Args:
        optimum: The best weights if none had to be what it is.
        faulty: True where a weight cannot be chosen.
        known: What is known of the inputs.
        held: What the faulty weights are; zero by default.

    Returns:
        The weights, what they cost, and what they took.

    Raises:
        RepairError: ``H`` is singular.
    """
    classes = fault_classes(faulty, 1 if isinstance(known, Inputs) else len(known.matrix))
    held = torch.zeros_like(optimum) if held is None else held
    lost = (optimum - held).masked_fill(~faulty, 0)
    if isinstance(known, Inputs):
        pulled, loss, work = _dual_form(lost, classes, known)
    elif _work_of_faulty_form(classes, known) <= _work_of_healthy_form(classes, known):
        pulled, loss, work = _faulty_form(lost, classes, known)
    else:
        pulled, loss, work = _healthy_form(lost, classes, known)
    return Compensated(torch.where(faulty, held, optimum + pulled), loss, work)


def losses_together(
    weights: Float[Tensor, "n k"], faulty: Bool[Tensor, "n k"], known: Known
) -> tuple[Float[Tensor, "n n"], int]:
    """What every output would lose under the faulty set of every other one of its block.

    The weights are lost together, and healthy ones make up for them. Of wide weights that is too
    dear: each of theirs is taken alone.

    Args:
        weights: The weights.
        faulty: True where a weight has to be zero.
        known: What is known of the inputs, with the inverse of the moments.

    Returns:
        Losses, in units of half a mean squared error: of the row's output under the column's
        faulty set, 0 between blocks; and the multiply-adds that it took.
    """
    if isinstance(known, Inputs):
        return known.loss_alone(weights) @ faulty.to(weights.dtype).mT, faulty.numel() * len(faulty)
    classes = fault_classes(faulty, len(known.matrix))
    losses, size = weights.new_zeros(len(faulty), len(faulty)), len(weights) // len(known.matrix)
    by_input = torch.nn.functional.pad(weights, (0, 1)).unflatten(0, (-1, size)).mT.contiguous()
    for batch in batches(
        classes, [c.faulty for c in classes], k=weights.shape[1], largest=LARGEST_BATCH
    ):
        lost = by_input[batch.block[:, None], batch.inputs]
        half = half_solve(_factors(_inverse(known), batch), lost)
        found = half.square().sum(1) / 2
        for block, outputs, of_all in zip(batch.block.tolist(), batch.outputs, found, strict=True):
            losses[block * size : (block + 1) * size, outputs] = of_all[:, None]
    work = sum(len(c.faulty) ** 3 // 3 + len(c.faulty) ** 2 * size for c in classes)
    return losses, work


def _faulty_form(
    lost: Tensor, classes: Sequence[FaultClass], known: Moments
) -> tuple[Tensor, Tensor, int]:
    inverse = _inverse(known)
    pulled, loss = torch.zeros_like(lost), lost.new_zeros(len(lost))
    for batch in batches(
        classes, [c.faulty for c in classes], k=lost.shape[1], largest=LARGEST_BATCH
    ):
        ours = _taken(lost, batch)
        found = solve(_factors(inverse, batch), ours)
        pulled[batch.outputs] = -_rows_weighted(inverse, batch, found)
        loss[batch.outputs] = (ours * found).sum(1) / 2
    return pulled, loss, _work_of_faulty_form(classes, known)


def _healthy_form(
    lost: Tensor, classes: Sequence[FaultClass], known: Moments
) -> tuple[Tensor, Tensor, int]:
    k = lost.shape[1]
    healthy = [np.setdiff1d(np.arange(k), c.faulty, assume_unique=True) for c in classes]
    missing = _by_block(lost, known.matrix)
    pulled, loss = torch.zeros_like(lost), (missing * lost).sum(1) / 2
    for batch in batches(classes, healthy, k=lost.shape[1], largest=LARGEST_BATCH):
        if not batch.inputs.shape[1]:
            continue
        ours = _taken(missing, batch)
        found = solve(_factors(known.matrix, batch), ours)
        _put(pulled, batch, found)
        loss[batch.outputs] -= (ours * found).sum(1) / 2
    return pulled, loss, _work_of_healthy_form(classes, known)


def _dual_form(
    lost: Tensor, classes: Sequence[FaultClass], known: Inputs
) -> tuple[Tensor, Tensor, int]:
    rows, k = known.rows, lost.shape[1]
    missing = lost @ rows.mT
    gram = rows @ rows.mT
    solved, work = torch.zeros_like(missing), rows.numel() * (len(rows) + 2 * len(lost))
    loss = known.damping * lost.square().sum(1) / 2
    for each in classes:
        few = len(each.faulty) < k / 2
        some = rows[:, each.faulty if few else np.setdiff1d(np.arange(k), each.faulty)]
        kernel = gram - some @ some.mT if few else some @ some.mT
        kernel.diagonal().add_(known.damping)
        ours = missing[each.outputs]
        found = solve(cholesky_(kernel), ours.mT).mT
        solved[each.outputs] = found
        loss[each.outputs] += known.damping * (ours * found).sum(1) / 2
        work += some.numel() * len(rows) + _work_of_solving(len(rows), len(each.outputs))
    return solved @ rows, loss, work


def _inverse(known: Moments) -> Tensor:
    if known.inverse is not None:
        return known.inverse
    return inverse_of(known.matrix)


def _taken(matrix: Tensor, batch: Batch) -> Tensor:
    """Every class's outputs at its inputs, ``classes x inputs x outputs``; 0 in the padding."""
    padded = torch.nn.functional.pad(matrix, (0, 1))
    return padded[batch.outputs[:, None, :], batch.inputs[:, :, None]]


def _put(matrix: Tensor, batch: Batch, found: Tensor) -> None:
    """The inverse of ``_taken``: put what was found where it belongs."""
    padded = torch.nn.functional.pad(matrix, (0, 1))
    padded[batch.outputs[:, None, :], batch.inputs[:, :, None]] = found
    matrix.copy_(padded[:, :-1])


def _factors(matrix: Tensor, batch: Batch) -> Tensor:
    """Factor each class's part of a matrix; the padding is that of the identity."""
    k = matrix.shape[-1]
    padding = (batch.inputs == k).to(matrix.device)
    places = batch.inputs.clamp(max=k - 1).to(matrix.device)
    parts = torch.stack(
        [
            matrix[block].index_select(0, held).index_select(1, held)
            for block, held in zip(batch.block.tolist(), places, strict=True)
        ]
    )
    least = int((~padding).sum(1).min())
    parts[:, least:].masked_fill_(padding[:, least:, None], 0)
    parts[:, :, least:].masked_fill_(padding[:, None, least:], 0)
    parts.diagonal(dim1=1, dim2=2).add_(padding)
    return cholesky_(parts)


def _rows_weighted(matrix: Tensor, batch: Batch, weights: Tensor) -> Tensor:
    """Weighted sums of each class's rows of a matrix, ``classes x outputs x k``."""
    k, (classes, _, outputs) = matrix.shape[-1], weights.shape
    rows = batch.block[:, None] * k + batch.inputs.clamp(max=k - 1)  # the padding weighs nothing
    return embedding_bag(
        rows.to(matrix.device).repeat_interleave(outputs, 0),
        matrix.flatten(0, 1),
        per_sample_weights=weights.mT.flatten(0, 1),
        mode="sum",
    ).unflatten(0, (classes, outputs))


def _by_block(rows: Tensor, matrix: Tensor) -> Tensor:
    """Rows times the matrix of their block."""
    return (rows.reshape(len(matrix), -1, matrix.shape[-1]) @ matrix).reshape(rows.shape)


@contextmanager
def solving_for(name: str) -> Iterator[None]:
    """Say of which weight the moments are singular, if they are."""
    try:
        yield
    except RepairError as error:
        raise RepairError(f"{name}: {error.message}", hint=error.hint) from error


def _work_of_faulty_form(classes: Sequence[FaultClass], known: Moments) -> int:
    blocks, k, _ = known.matrix.shape
    solving = sum(_work_of_solving(len(c.faulty), len(c.outputs)) for c in classes)
    spreading = sum(len(c.faulty) * len(c.outputs) * k for c in classes)
    return solving + spreading + blocks * k**3 * (known.inverse is None)


def _work_of_healthy_form(classes: Sequence[FaultClass], known: Moments) -> int:
    k = known.matrix.shape[-1]
    return sum(
        _work_of_solving(k - len(c.faulty), len(c.outputs)) + len(c.outputs) * k * k
        for c in classes
    )


def _work_of_solving(size: int, outputs: int) -> int:
    return size**3 // 3 + size**2 * outputs
