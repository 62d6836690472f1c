"""A chip's weight memory: numbers stored as codes, word by word, and read with all stuck bits."""

from collections.abc import Mapping

import torch
from torch import Tensor

from chipmend.faults.stuck import StuckBits
from chipmend.hardware.memory import Filled, WeightMemory, read_back


def read_numbers(
    numbers: Mapping[str, Tensor], filled: Filled, memory: WeightMemory, stuck: StuckBits
) -> dict[str, Tensor]:
    """Store whole numbers, and read them.

    Args:
        numbers: Those of each weight, by its name, in the order in which words are filled.
        filled: Where the weights lie.
        memory: The memory as designed.
        stuck: Its stuck bits.

    Returns:
        What is read, of the same shapes and types.

    Example:
        >>> stuck = StuckBits.of_bits(3, 8, [1], [7], [True])
        >>> filled = Filled.of({"w": 3}, WeightMemory())
        >>> read_numbers({"w": torch.tensor([5.0, 5.0, 5.0])}, filled, WeightMemory(), stuck)
        {'w': tensor([   5., -123.,    5.])}
    """
    ones, zeros = stuck.patterns()
    values = torch.from_numpy(memory.values)
    found = {}
    for name, held in numbers.items():
        stored = memory.codes(held.reshape(-1).cpu().numpy())
        read = read_back(stored, filled.taken(name, ones), filled.taken(name, zeros))
        decoded = values[torch.from_numpy(read).long()]
        found[name] = decoded.to(held.dtype).to(held.device).view(held.shape)
    return found
