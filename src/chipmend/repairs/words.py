"""The words that a network's weights are put into on one chip, and what they can read.

Numbers are counted in steps of an output. A word that is sound reads whatever whole number its bits
can hold; of one with stuck bits the pattern says what it can read; a weight whose PE is lost counts
as 0, whatever its word holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from chipmend.errors import FaultMapError
from chipmend.faults.stuck import StuckBits
from chipmend.hardware.memory import Filled, WeightMemory
from chipmend.network.coupling import Coupling, Positions
from chipmend.repairs.prune import Pruned
from chipmend.repairs.readable import patterns, readable

Weight = Float[Tensor, "n k"]


@dataclass(frozen=True, eq=False)
class HitWords:
    """Weights of one tensor whose words have stuck bits.

    Args:
        at: Which weights, in the tensor's row-major order.
        pattern: The pattern of each one's stuck bits, as ``readable`` numbers them.
    """

    at: Int64[Tensor, " hit"]
    pattern: Int64[Tensor, " hit"]

    @classmethod
    def none(cls) -> "HitWords":
        """All words are sound."""
        empty = torch.empty(0, dtype=torch.int64)
        return cls(empty, empty)


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
        return (wanted.contiguous() + 0.5).floor_().clamp_(self._least, self._most)

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
        found = self._table.take(self._rows[at] + self._halves(wanted))
        return found.to(wanted.dtype)

    @cached_property
    def _table(self) -> Tensor:
        """The nearest numbers, with a last row for weights whose PE is lost."""
        return torch.cat([self._nearest, torch.zeros_like(self._nearest[:1])])

    @cached_property
    def _rows(self) -> Int64[Tensor, "k n"]:
        """Where in the table each weight's row begins, inputs first."""
        row = self.patterns.masked_fill(self.lost, len(self._nearest))
        return (row * self._nearest.shape[1]).mT.contiguous()

    def of_outputs(self, outputs: slice | Int64[Tensor, " outputs"]) -> "Words":
        """The words of some outputs of the weight."""
        patterns = self.patterns[outputs].flatten()
        at = patterns.nonzero().flatten()
        return Words(self.memory, HitWords(at, patterns[at]), self.lost[outputs])

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


def words_on_chip(
    memory: WeightMemory,
    lost: Pruned,
    stuck: StuckBits | None,
    filled: Filled | None,
    moved: tuple[Sequence[Coupling], Positions] | None,
) -> dict[str, Words]:
    """The words of each weight on one chip, in the network's own order of channels.

    Args:
        memory: The memory.
        lost: Weights on PEs that must not be used, by name.
        stuck: Stuck bits of the memory; none if it is sound.
        filled: Where weights lie in it; not needed if it is sound.
        moved: Channels that were moved, and where they went; none if none were.
    """
    hit = dict.fromkeys(lost, HitWords.none())
    if stuck is not None:
        assert filled is not None
        hit = hit_words(filled, stuck)
    if moved is not None:
        hit = in_own_order(hit, {name: each.shape for name, each in lost.items()}, *moved)
    return {name: Words(memory, hit[name], each.flatten(1)) for name, each in lost.items()}


def hit_words(filled: Filled, stuck: StuckBits) -> dict[str, HitWords]:
    """Find the weights whose words have stuck bits.

    Args:
        filled: Where the weights lie.
        stuck: The stuck bits.

    Returns:
        Weights hit, by name of the tensor, as they are stored.

    Raises:
        FaultMapError: The stuck bits are of a memory of another size.
    """
    if stuck.words != filled.words:
        raise FaultMapError(
            f"stuck bits of a memory of {stuck.words:,} words, where the network's weights lie in "
            f"{filled.words:,}",
            hint="set array.memory.words to the words of its memory",
        )
    numbers = torch.from_numpy(patterns(stuck.ones, stuck.zeros))
    return {name: _of_tensor(filled, name, stuck.at, numbers) for name in filled.sizes}


def _of_tensor(filled: Filled, name: str, at: np.ndarray, numbers: Tensor) -> HitWords:
    """Each time that the memory is gone through, the words hit among those of a tensor."""
    first, end = filled.first[name], filled.first[name] + filled.sizes[name]
    laps = np.arange(first // filled.words, (end - 1) // filled.words + 1) * filled.words
    low, high = np.searchsorted(at, [first - laps, end - laps])
    chosen = [np.arange(*run) for run in zip(low, high, strict=True)]
    shifted = [at[run] + lap - first for run, lap in zip(chosen, laps, strict=True)]
    return HitWords(
        torch.from_numpy(np.concatenate(shifted)), numbers[torch.from_numpy(np.concatenate(chosen))]
    )


def in_own_order(
    hit: Mapping[str, HitWords],
    shapes: Mapping[str, Sequence[int]],
    couplings: Sequence[Coupling],
    positions: Positions,
) -> dict[str, HitWords]:
    """Weights hit once channels were moved, in the network's own order of channels.

    Args:
        hit: Weights hit, as they are stored.
        shapes: Shapes of the tensors.
        couplings: Channels that can change places.
        positions: Where the channels of each coupling go.

    Returns:
        The same words, by the weights that come to lie in them.
    """
    found = {}
    for name, words in hit.items():
        place = torch.arange(int(np.prod(shapes[name]))).view(*shapes[name])
        for coupling, position in zip(couplings, positions, strict=True):
            for moved in coupling.moved:
                if moved.name == name:
                    place = moved.moved_to(place, np.argsort(position))
        own = torch.empty_like(place).flatten()
        own[place.flatten()] = torch.arange(own.numel())
        found[name] = HitWords(own[words.at], words.pattern)
    return found
