"""What a chip computes: weights are stored in its words, read, and put on its PEs, faults live.

Channels that a remapping moved are moved here as well, so that each weight is where the chip has
it. The outputs of the network stay in their order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from chipmend.faults.maps import FaultMap
from chipmend.hardware.array import Array
from chipmend.hardware.memory import Filled
from chipmend.network.coupling import Coupling, Positions
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.network import IntegerNetwork, Lowering
from chipmend.simulate.faulty_array import FaultyArray
from chipmend.simulate.faulty_memory import read_numbers


def on_chip(
    lowering: Lowering,
    tensors: Mapping[str, Tensor],
    codes: Mapping[str, Codes],
    *,
    array: Array,
    faults: FaultMap,
    filled: Filled | None = None,
    moved: tuple[Sequence[Coupling], Positions] | None = None,
) -> IntegerNetwork:
    """Put a network of whole numbers on a chip.

    Args:
        lowering: How it is carried out.
        tensors: Its biases, norms and whatever else is not a code by name, in its own order of
            channels.
        codes: Its weights by name, in the same order.
        array: The array and its memory.
        faults: What is broken on the chip.
        filled: Where the weights lie in the memory; needed where bits of it are stuck.
        moved: Channels that were moved, and where they went; none were by default.

    Returns:
        What the chip computes, to the last bit.

    Raises:
        ArrayError: The accumulators are too narrow for a layer.
        FaultMapError: The map is not one of this array.
    """
    if moved is not None:
        tensors, codes = _moved(tensors, codes, *moved)
    if faults.stuck is not None:
        assert filled is not None
        numbers = {name: held.numbers for name, held in codes.items()}
        read = read_numbers(numbers, filled, array.memory, faults.stuck)
        codes = {name: replace(held, numbers=read[name]) for name, held in codes.items()}
    return IntegerNetwork(lowering, tensors, codes, FaultyArray(array, faults))


def _moved(
    tensors: Mapping[str, Tensor],
    codes: Mapping[str, Codes],
    couplings: Sequence[Coupling],
    positions: Positions,
) -> tuple[dict[str, Tensor], dict[str, Codes]]:
    """A network with its channels where they went."""
    tensors, codes = dict(tensors), dict(codes)
    for coupling, position in zip(couplings, positions, strict=True):
        for moved in coupling.moved:
            if moved.name not in codes:
                tensors[moved.name] = moved.moved_to(tensors[moved.name], position)
                continue
            held = codes[moved.name]
            step = held.step if moved.axis else moved.moved_to(held.step, position)
            codes[moved.name] = Codes(moved.moved_to(held.numbers, position), step)
    return tensors, codes
