"""Words of the weight memory with stuck bits, by the weights that are put into them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from chipmend.errors import FaultMapError
from chipmend.faults.stuck import StuckBits
from chipmend.hardware.memory import Filled
from chipmend.network.coupling import Coupling
from chipmend.repairs.readable import patterns
from chipmend.repairs.remap import Positions


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
            hint="give the array the size of its memory: WeightMemory(words=...)",
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
