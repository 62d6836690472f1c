"""Rounding weights to numbers that their words can read on one chip.

Numbers are counted in steps, one for each output. A word that is sound reads whatever whole number
its bits can hold; of one with stuck bits the pattern says what it can read; a weight whose PE is
lost counts as 0, whatever its word holds.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from chipmend.hardware.memory import WeightMemory
from chipmend.network.integer.codes import Codes
from chipmend.repairs.closed_form import Known, compensated
from chipmend.repairs.gptq import rounded_in_turn
from chipmend.repairs.readable import readable
from chipmend.repairs.words import HitWords

Weight = Float[Tensor, "n k"]


class Words:
    """The words of one weight on one chip, and what they can read.

    Args:
        memory: The memory.
        hit: Weights whose words have stuck bits.
        lost: Weights on PEs that must not be used.
    """

    def __init__(self, memory: WeightMemory, hit: HitWords, lost: Bool[Tensor, "n k"]) -> None:
        known = readable(memory)
        self.memory, self.lost = memory, lost
        self.hit = HitWords(hit.at.to(lost.device), hit.pattern.to(lost.device))
        self._read, self._nearest = (
            torch.from_numpy(table).to(lost.device) for table in (known.read, known.nearest)
        )
        self._least, self._most = int(memory.values.min()), int(memory.values.max())

    def sound(self, wanted: Weight) -> Weight:
        """The nearest whole numbers, halves up, as if every word were sound."""
        return (wanted + 0.5).floor_().clamp_(self._least, self._most)

    def unaware(self, wanted: Weight) -> Weight:
        """What is read where the nearest numbers are stored and nobody looks at the faults."""
        numbers = self.sound(wanted)
        stored = self.memory.codes(numbers.view(-1)[self.hit.at].cpu().numpy())
        codes = torch.from_numpy(stored).to(numbers.device).long()
        return self._with_hit(numbers, self._read[self.hit.pattern, codes])

    def nearest(self, wanted: Weight) -> Weight:
        """The nearest numbers that can be read; 0 where the PE is lost."""
        halves = self._halves(wanted.reshape(-1)[self.hit.at])
        return self._with_hit(self.sound(wanted), self._nearest[self.hit.pattern, halves])

    def nearest_of(self, at: int, wanted: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The same for one input of every output."""
        found = self._nearest[self.patterns[:, at], self._halves(wanted)]
        return found.to(wanted.dtype).masked_fill_(self.lost[:, at], 0)

    @cached_property
    def patterns(self) -> Int64[Tensor, "n k"]:
        """The pattern of every weight's word; 0 is a sound one."""
        found = torch.zeros(self.lost.numel(), dtype=torch.int64, device=self.lost.device)
        found[self.hit.at] = self.hit.pattern
        return found.view(self.lost.shape)

    @property
    def faulty(self) -> Bool[Tensor, "n k"]:
        """Weights that cannot be whatever they like."""
        return self.lost | (self.patterns > 0)

    def _halves(self, wanted: Tensor) -> Tensor:
        """Columns of the table of nearest numbers."""
        columns = self._nearest.shape[1]
        return (2 * (wanted - self._least)).floor_().clamp_(0, columns - 1).long()

    def _with_hit(self, numbers: Tensor, read: Tensor) -> Tensor:
        numbers.view(-1)[self.hit.at] = read.to(numbers.dtype)
        return numbers.masked_fill_(self.lost, 0)


def plain_steps(weight: Weight, memory: WeightMemory) -> Float64[Tensor, " n"]:
    """Steps with which each output's largest magnitude is the highest number."""
    return Codes.nearest(weight, memory.highest).step


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
    plain = plain_steps(weight, words.memory)
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
) -> tuple[Codes, int]:
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

    Returns:
        The codes, and the multiply-adds that it took.
    """
    along, work = step[:, None].to(optimum.dtype), 0
    first = faulty_first or factor is None
    faulty, settled = words.faulty, words.nearest(optimum / along) * along
    if first:
        moved = compensated(optimum, faulty, known, settled)
        optimum, work = moved.weights, moved.multiply_adds
    if factor is None:
        return Codes(words.nearest(optimum / along), step), work

    def to(at: int, wanted: Tensor) -> Tensor:
        by_output = wanted.flatten()
        found = words.nearest_of(at, by_output / along[:, 0]) * along[:, 0]
        if first:
            found = torch.where(faulty[:, at], settled[:, at], found)
        return found.view_as(wanted)

    weights, _, spent = rounded_in_turn(optimum, factor, to)
    return Codes((weights / along).round(), step), work + spent
