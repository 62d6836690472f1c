"""Rounding a weight to what its words can read: the steps of its outputs, and compensation."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from chipmend.network.integer.codes import Codes, plain_steps
from chipmend.repairs.closed_form import Known, compensated
from chipmend.repairs.gptq import rounded_in_turn
from chipmend.repairs.words import Weight, Words


def best_steps(
    weight: Weight,
    words: Words,
    importance: Weight | Float[Tensor, ""],
    *,
    shares: Sequence[float],
    turned: bool,
) -> Float64[Tensor, " n"]:
    """Of some steps those with which the nearest numbers err least.

    Args:
        weight: The weights wanted.
        words: Their words.
        importance: What a squared error of each weight costs.
        shares: Shares of the plain steps that are tried.
        turned: Whether the negative of an output is tried as well: its step is negative then.

    Returns:
        A step for every output.
    """
    plain = plain_steps(weight, words.memory.highest)
    best, least = plain, torch.full_like(plain, torch.inf)
    for share in shares:
        for sign in (1, -1) if turned else (1,):
            step = sign * share * plain
            along = step[:, None].to(weight.dtype)
            apart = words.nearest(weight / along) * along - weight
            error = (apart.square() * importance).sum(1).double()
            best = torch.where(error < least, step, best)
            least = torch.minimum(error, least)
    return best


def rounded_with_compensation(
    optimum: Weight,
    words: Words,
    step: Float64[Tensor, " n"],
    known: Known,
    factor: Float[Tensor, "blocks k k"] | None,
    *,
    faulty_first: bool,
    hold: float,
) -> tuple[Codes, Float[Tensor, " n"] | None, int]:
    """Round weights so that those rounded later make up for those rounded before.

    Args:
        optimum: The best weights if none had to be rounded.
        words: Their words.
        step: What one is worth, for every output.
        known: What is known of the inputs.
        factor: Factor of the inverse moments, as ``gptq.factor_of`` gives it; none where inputs are
            too many for one: all that are not faulty are then rounded at once.
        faulty_first: Whether weights in faulty words are settled first, and the others move to
            where they make up best for that before they are rounded.
        hold: Weights that would be moved by fewer codes stay where they were.

    Returns:
        The codes; what they cost each output, in units of half its mean squared error, where that
        comes of it; and the multiply-adds that it took.
    """
    along, work, loss = step[:, None].to(optimum.dtype), 0, torch.zeros(())
    clean = optimum
    first = faulty_first or factor is None
    faulty, settled = words.faulty, words.nearest(optimum / along)
    if first:
        moved = compensated(optimum, faulty, known, settled * along)
        optimum, loss, work = moved.weights, moved.loss, moved.multiply_adds
    if factor is None:
        return Codes(words.nearest(optimum / along), step), None, work
    held, is_held = settled.mT.contiguous(), faulty.mT.contiguous()
    start = (clean / along).mT.contiguous()

    def to(at: int, wanted: Tensor) -> Tensor:
        wished = wanted.flatten()
        if hold:
            wished = torch.where((wished - start[at]).abs() < hold, start[at], wished)
        found = words.nearest_of(at, wished)
        if first:  # what is settled stays, and is no weight that was left to choose
            found = torch.where(is_held[at], held[at], found)
        return found.view_as(wanted)

    numbers, more, spent = rounded_in_turn(optimum / along, factor, to)
    return Codes(numbers, step), loss + more * along[:, 0].square(), work + spent
