"""Bundles of what a workbench repaired: the base of a recipe, and the network that it ships."""

from collections.abc import Sequence

from chipmend.bundle.base import Base
from chipmend.bundle.delta import Repair
from chipmend.faults.maps import Chip
from chipmend.hardware.array import Array
from chipmend.network.gemm import gemms
from chipmend.network.tensors import own_tensors
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.workbench import Workbench
from chipmend.steps import Quantize, Recipe, Remap, Step


def base_of(known: Calibration, array: Array, steps: Sequence[Step]) -> Base:
    """What the bundles of chips that were repaired in the same way share.

    Args:
        known: What is known of the network that repairs start from.
        array: The array.
        steps: What was done to them.
    """
    model = known.task.model
    quantize = next((step for step in steps if isinstance(step, Quantize)), None)
    remapped = any(isinstance(step, Remap) for step in steps)
    return Base(
        array=array,
        tensors=own_tensors(model),
        placed={gemm.name: gemm.shapes for gemm in gemms(model)},
        order=tuple(known.filled(array.memory).sizes),
        couplings=tuple(known.couplings) if remapped else (),
        lowering=None if quantize is None else known.lowering(quantize),
    )


def repair_for(bench: Workbench, recipe: Recipe, chip: Chip) -> Repair:
    """The network that a recipe ships to one chip.

    Args:
        bench: The bench that it was repaired on.
        recipe: The recipe.
        chip: The chip, which may be one of several that share the network.
    """
    done = bench.comes_to(recipe)
    network, mapping = bench.network(done), bench.mapping(done)
    return Repair(
        tensors=own_tensors(network),
        codes=bench.codes(done),
        bypassed=chip.faults.unusable,
        positions=() if mapping is None else tuple(mapping.positions),
    )
