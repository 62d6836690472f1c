"""How far sums can go: which outputs may leave an accumulator, and how wide a layer needs them.

Bounds are those of the numbers themselves: each weight meets the least or the greatest activation.
Every partial sum lies between the bounds of the whole one, since activations may be zero.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from chipmend.errors import ArrayError
from chipmend.hardware.array import Array
from chipmend.hardware.mac import ACTIVATION_BITS
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.layers import Pair

Bounds = tuple[Int64[Tensor, "n passes"], Int64[Tensor, "n passes"]]
"""The least and the greatest sum of each output in each pass."""


def bounds(weights: Float[Tensor, "... n k"], grid: Grid, slices: Sequence[slice]) -> Bounds:
    """Bounds of the sums that passes give.

    Args:
        weights: Whole numbers, arranged; where there are several such, bounds are those of all.
        grid: The grid of the activations.
        slices: Which of them each pass has.

    Example:
        >>> least, most = bounds(torch.tensor([[2.0, -1.0]]), Grid(1.0, True), [slice(0, 2)])
        >>> int(least), int(most)
        (-383, 382)
    """
    up, down = weights.clamp(min=0).double(), weights.clamp(max=0).double()

    def sums(of_up: int, of_down: int) -> Tensor:
        each = [(of_up * up[..., s] + of_down * down[..., s]).sum(-1) for s in slices]
        return torch.stack(each, -1).long().view(-1, weights.shape[-2], len(slices))

    return sums(grid.least, grid.most).amin(0), sums(grid.most, grid.least).amax(0)


def bits_for(least: int, most: int) -> int:
    """Bits that hold numbers from a least one, of 0 or less, to a greatest one, of 0 or more.

    Example:
        >>> bits_for(-128, 127), bits_for(-129, 0), bits_for(0, 128)
        (8, 9, 9)
    """
    return max((-least - 1).bit_length() if least < 0 else 0, most.bit_length()) + 1


def widths(found: Bounds) -> Int64[np.ndarray, "n passes"]:
    """Bits that the sums of each output in each pass need.

    Args:
        found: Their bounds.

    Example:
        >>> widths((torch.tensor([[-128, -129]]), torch.tensor([[127, 0]]))).tolist()
        [[8, 9]]
    """
    least, most = (each.tolist() for each in found)
    return np.array([[*map(bits_for, *each)] for each in zip(least, most, strict=True)])


def check_wide_enough(layer: str, found: Bounds, array: Array) -> None:
    """Refuse accumulators that a sound array would overflow.

    Args:
        layer: Name of the layer's weight.
        found: Bounds of its sums.
        array: The array.

    Raises:
        ArrayError: Names the layer, and the bits that it needs.
    """
    least, most = found
    total = bits_for(int(least.sum(1).min()), int(most.sum(1).max()))
    in_pass = bits_for(int(least.min()), int(most.max()))
    held = array.accumulators
    inside = total if held.tiles == "reentry" else in_pass
    wanted = [("of its PEs", "bits", held.bits, inside)]
    if held.tiles == "outside":
        wanted.append(("outside of the array", "outside_bits", held.outside_bits, total))
    for where, name, there, needed in wanted:
        if there < needed:
            raise ArrayError(
                f"{layer}: the accumulators {where} have {there} bits, and sums of this layer need "
                f"{needed}",
                hint=f"set array.accumulators.{name} to {needed}"
                if needed <= 32
                else "no accumulator is as wide; the layer has too many inputs",
            )


def check_holds_activations(pair: Pair, array: Array) -> None:
    """Refuse weight registers that are too narrow for activations.

    Args:
        pair: A product of two activations.
        array: The array.

    Raises:
        ArrayError: Names the product.
    """
    if array.memory.bits < ACTIVATION_BITS:
        raise ArrayError(
            f"{pair.place or 'the network'}: a product of two activations, and weight registers of "
            f"{array.memory.bits} bits",
            hint=f"set array.memory.bits to {ACTIVATION_BITS}",
        )


def check_wide_enough_for(pair: Pair, k: int, slices: Sequence[slice], array: Array) -> None:
    """Refuse accumulators that a sound array would overflow with some activations.

    Args:
        pair: A product of two activations.
        k: How many products each of its sums has.
        slices: Which of them each pass has.
        array: The array.

    Raises:
        ArrayError: Names the product, and the bits that it needs.
    """
    extremes = torch.tensor([[float(pair.right.least)], [float(pair.right.most)]]).expand(2, k)
    found = bounds(extremes, pair.left, slices)
    check_wide_enough(pair.place or "a product of activations", found, array)
