"""What chips compute with a repaired network: with the faults of its map, or with others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from chipmend.faults.maps import FaultMap
from chipmend.hardware.array import Array
from chipmend.network.coupling import Coupling, Positions
from chipmend.network.dynamic import Lost
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.graph import tensors_of
from chipmend.network.integer.network import Lowering
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.losing import Losing
from chipmend.repairs.prune import prune_, pruned_weights
from chipmend.repairs.remap import moved_with
from chipmend.simulate.chip import on_chip

Moves = tuple[Sequence[Coupling], Positions]
"""Channels that were moved, and where they went."""


@dataclass(frozen=True, eq=False)
class Computing:
    """What chips compute.

    Args:
        known: What is known of the clean network.
        array: The array.
        repaired_for: The fault map that networks were repaired for.
    """

    known: Calibration
    array: Array
    repaired_for: FaultMap

    def on(
        self,
        network: nn.Module,
        faults: FaultMap,
        *,
        lowering: Lowering | None,
        codes: Mapping[str, Codes],
        moved: Moves | None,
    ) -> nn.Module:
        """What a chip computes: to the last bit once weights are codes.

        Args:
            network: The repaired network.
            faults: What is broken on the chip.
            lowering: How it is carried out in integers; none if it stays one of real numbers.
            codes: Its codes then.
            moved: Channels that were moved; none by default.
        """
        if lowering is not None:
            return on_chip(
                lowering,
                tensors_of(network),
                codes,
                array=self.array,
                faults=faults,
                filled=self.known.filled(self.array.memory) if faults.stuck else None,
                moved=moved,
            )
        if faults is self.repaired_for:
            return network
        copy = Losing(self.known, Lost(faults.unusable, self.array)).fresh()
        copy.load_state_dict(network.state_dict())
        lost = pruned_weights(self.known.task.model, faults.unusable, self.array)
        prune_(copy, moved_with(lost, moved))
        return copy.train(network.training)
