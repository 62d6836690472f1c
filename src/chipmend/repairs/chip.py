"""Repair one chip by hand: a recipe in, a plain network out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from chipmend.errors import PlanError, RepairError
from chipmend.faults.maps import Chip, check_fits, check_needs_no_codes
from chipmend.hardware.array import Array
from chipmend.network.coupling import Positions
from chipmend.network.integer.codes import Codes
from chipmend.network.task import Task
from chipmend.recipes import check_recipe, is_quantized
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.cost import Cost
from chipmend.repairs.workbench import Workbench
from chipmend.steps import Measure, Prune, Recalibrate, Step


@dataclass(frozen=True, eq=False)
class Repaired:
    """A chip's network after repair.

    Args:
        model: The network, a plain torch module of the caller's own; of integers if a step chose
            codes. It computes what the chip does, unless datapaths are stuck that nothing bypasses;
            products of two activations lose what lies on faulty PEs whenever it is run.
        validation_accuracy: Mean score on the validation split, of the chip itself with all its
            faults live if the network is of integers.
        cost: What the repair cost, the look at the validation split included.
        shared: What was worked out for it that every chip of the network could use.
        positions: Where the channels of each coupling go on the chip, as ``network.coupling``
            finds them; none if they stay in their places.
        codes: The numbers that the words of each weight read, by its name and in the network's own
            order of channels; none if no step chose codes.
    """

    model: nn.Module
    validation_accuracy: float
    cost: Cost
    shared: Cost = field(default_factory=Cost)
    positions: Positions | None = None
    codes: Mapping[str, Codes] | None = None


def repair(
    task: Task,
    chip: Chip,
    *,
    array: Array,
    steps: Sequence[Step] = (Prune(), Recalibrate()),
    seed: int = 0,
    calibration: Calibration | None = None,
) -> Repaired:
    """Carry out a recipe for one chip.

    Args:
        task: The clean network and its data.
        chip: The chip.
        array: The array and its placement.
        steps: What to do, in order, beginning with ``Prune``; only ``Remap`` may come before it.
        seed: The seed of everything random.
        calibration: What closed-form repair knows of the task: pass the same one for every chip,
            so that it is worked out once.

    Returns:
        The repaired network, how good it is on validation, and what it cost.

    Raises:
        ArrayError: The array is none.
        LotError: The chip is none.
        ArrayError: Accumulators are too narrow for a layer in whole numbers.
        FaultMapError: The chip is of another array, or bits of its weight memory or of datapaths
            that nothing bypasses are stuck and no step chooses codes.
        PlanError: The steps do not begin with pruning, one of them is none, or the calibration is
            of another task.
        RepairError: The chip cannot be repaired at all, or a step went astray.
    """
    check_fits([chip], array)
    check_recipe(steps, "the recipe")
    if not is_quantized(tuple(steps)):
        check_needs_no_codes([chip])
    if calibration is not None and calibration.task is not task:
        raise PlanError(
            "the calibration is of another task",
            hint="make it of this one, as Calibration(task)",
        )
    if chip.faults.fatal:
        raise RepairError(
            f"chip {chip.id} cannot be repaired: {chip.faults.fatal}",
            hint="leave it out; in a campaign it is binned as unrepairable",
        )
    bench = Workbench(
        task,
        array,
        chip.faults,
        chip=chip.id,
        seed=seed,
        calibration=calibration,
    )
    recipe = (*steps, Measure())
    for length in range(1, len(recipe) + 1):
        bench.carry_out(recipe[:length])
    accuracy = float(bench.validation(recipe).mean())
    mapping = bench.mapping(recipe)
    return Repaired(
        bench.ships(recipe),
        accuracy,
        bench.spent(recipe),
        bench.calibration.bill(recipe),
        None if mapping is None else mapping.positions,
        bench.codes(recipe),
    )
