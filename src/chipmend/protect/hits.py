"""By how much a sum is off at its end when one bit flips on its way."""

import torch
from jaxtyping import Int64
from torch import Tensor

Sums = Int64[Tensor, "..."]


def move(there: Sums, piece: Sums, bit: int | Tensor, bits: int) -> Sums:
    """By how much what leaves a column is off.

    Args:
        there: The partial sum at which the bit flips.
        piece: What would leave the column.
        bit: The bit.
        bits: Bits of the accumulator, in two's complement; sums wrap around.

    Example:
        A bit of 0 adds what it is worth, one of 1 takes it away, and the sign is worth the less:

        >>> sums = torch.tensor([4, 4, -4, -4])
        >>> move(sums, sums, torch.tensor([1, 2, 6, 7]), 8).tolist()
        [2, -4, -64, 128]
    """
    bit = torch.as_tensor(bit)
    worth = torch.where(bit == bits - 1, -1, 1) << bit
    flipped = piece + torch.where(there >> bit & 1 == 1, -worth, worth)
    half = 2 ** (bits - 1)
    return (flipped + half) % (2 * half) - half - piece
