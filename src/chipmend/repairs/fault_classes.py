"""Outputs whose weights sit on the same faulty PEs, in batches of about equal size.

Under both placements the outputs of a dense layer share a column of PEs if they are equal modulo
the array's columns, hence one faulty set and one factorization. Which outputs share is read off the
weights themselves, so any placement, group structure and shared weight will do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FaultClass:
    """Outputs with one faulty set.

    Args:
        block: Which group of outputs they belong to.
        outputs: The outputs.
        faulty: Their inputs on faulty PEs, at least one.
    """

    block: int
    outputs: Int64[np.ndarray, " outputs"]
    faulty: Int64[np.ndarray, " faulty"]


def fault_classes(faulty: Bool[Tensor, "n k"], blocks: int) -> list[FaultClass]:
    """Put outputs with the same faulty set together.

    Args:
        faulty: True where a weight has to be zero.
        blocks: Groups of consecutive outputs that have inputs of their own.

    Returns:
        The classes; outputs without a fault are in none.

    Example:
        >>> faulty = torch.tensor([[1, 0], [0, 0], [1, 0]]).bool()
        >>> [(c.outputs.tolist(), c.faulty.tolist()) for c in fault_classes(faulty, 1)]
        [([0, 2], [0])]
    """
    spoiled = faulty.cpu().numpy()
    block = np.arange(len(spoiled)) * blocks // len(spoiled)
    rows = np.hstack([block[:, None].astype(">u4").view(np.uint8), np.packbits(spoiled, axis=1)])
    keys = np.ascontiguousarray(rows).view(f"V{rows.shape[1]}").ravel()
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    members = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))[:-1])
    return [
        FaultClass(int(block[one]), outputs, held)
        for one, outputs in zip(first, members, strict=True)
        if len(held := np.flatnonzero(spoiled[one]))
    ]


@dataclass(frozen=True, eq=False)
class Batch:
    """Fault classes padded to one size.

    Args:
        block: The block of each class.
        outputs: Outputs of each class, padded with the number of all outputs.
        inputs: The inputs that are solved for, padded with the number of all inputs.
    """

    block: Int64[Tensor, " classes"]
    outputs: Int64[Tensor, "classes outputs"]
    inputs: Int64[Tensor, "classes inputs"]


def batches(
    classes: Sequence[FaultClass],
    solved: Sequence[Int64[np.ndarray, " inputs"]],
    *,
    k: int,
    largest: int,
) -> Iterator[Batch]:
    """Batch classes of about equal size.

    Args:
        classes: The classes.
        solved: For each class the inputs that are solved for.
        k: Inputs of an output.
        largest: How many numbers the matrices of a batch may hold, if they are more than one.

    Yields:
        The batches, smaller classes first.
    """
    sizes = np.array([(len(c.outputs), len(s)) for c, s in zip(classes, solved, strict=True)])
    order = np.lexsort((sizes[:, 1], sizes[:, 0])) if len(sizes) else []
    batch: list[int] = []
    for place in order:
        outputs, inputs = sizes[place]
        if batch and (
            outputs != sizes[batch[0], 0]
            or inputs > 1.25 * sizes[batch[0], 1] + 8
            or (len(batch) + 1) * inputs**2 > largest
        ):
            yield _padded([classes[i] for i in batch], [solved[i] for i in batch], k)
            batch = []
        batch.append(int(place))
    if batch:
        yield _padded([classes[i] for i in batch], [solved[i] for i in batch], k)


def _padded(classes: Sequence[FaultClass], solved: Sequence[np.ndarray], k: int) -> Batch:
    most = max(len(inputs) for inputs in solved)
    padded = np.full((len(classes), most), k)
    for row, inputs in zip(padded, solved, strict=True):
        row[: len(inputs)] = inputs
    return Batch(
        torch.tensor([c.block for c in classes]),
        torch.from_numpy(np.stack([c.outputs for c in classes])),
        torch.from_numpy(padded),
    )
