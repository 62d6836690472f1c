"""The three splits of a data set, cut once and for all."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from chipmend.errors import DataError
from chipmend.network.samples import Samples
from chipmend.seeds import shuffled


@dataclass(frozen=True, eq=False)
class Splits:
    """Training and validation samples that decisions may see, and test samples that report.

    Args:
        train: What networks are trained on.
        validation: What decisions are taken on; never trained on.
        test: What is read once per chip, to report.
    """

    train: Samples
    validation: Samples
    test: Samples


def held_out(
    count: int, validation: int, seed: int = 0
) -> tuple[Int64[Tensor, " t"], Int64[Tensor, " v"]]:
    """Cut a validation set out of ``count`` training samples.

    Args:
        count: Samples to cut from.
        validation: How many to hold out.
        seed: Another seed cuts another set.

    Returns:
        Sorted indices of the training and of the validation samples; the same on every machine
        and under every library version.

    Raises:
        DataError: Nothing would be left to train on, or to validate on.

    Example:
        >>> train, validation = held_out(10, 3)
        >>> len(train), len(validation), len({*train.tolist(), *validation.tolist()})
        (7, 3, 10)
    """
    if not 0 < validation < count:
        raise DataError(
            f"{validation} of {count} samples cannot be held out",
            hint="hold out at least one, and leave at least one to train on",
        )
    order = torch.tensor(shuffled(count, seed, "validation split"))
    return order[validation:].sort().values, order[:validation].sort().values
