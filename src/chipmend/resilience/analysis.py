"""Resilience analysis (Reduce, step 1): how accuracy answers to faults and to retraining.

Each repeat has a fault map of its own and one training trajectory; every amount is a stop on it.

References:
    [Hanif2023] Hanif, Shafique, "Reduce: a framework for reducing the overheads of fault-aware
        retraining", 2023.
"""

import itertools
import math
import time
from dataclasses import dataclass, field, replace
from typing import Annotated

from chipmend.errors import TableError
from chipmend.faults.generate import Spatial, Uniform, fault_map
from chipmend.hardware.array import Array
from chipmend.network.task import Task
from chipmend.records import ByKind
from chipmend.repairs.prune import effective_rate, weights_per_pe
from chipmend.repairs.workbench import Tick, Workbench
from chipmend.resilience.table import Trajectory, check_amounts
from chipmend.steps import Anytime, Measure, Prune, Recalibrate, Recipe, Retrain, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What the resilience analysis measures.

    Args:
        rates: Fault rates (base: per PE).
        amounts: Epochs of retraining, ascending from 0.
        repeats: Independent fault maps at each rate.
        spatial: How faults lie on the die.
        retrain: How to retrain; its amount does not count.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    rates: tuple[float, ...] = (0.01, 0.1, 0.2, 0.35, 0.5)
    amounts: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
    repeats: int = 5
    spatial: Annotated[Spatial, ByKind()] = field(default_factory=Uniform)
    retrain: Retrain = field(default_factory=Retrain)

    def __post_init__(self) -> None:
        check_amounts(self.amounts)
        if not isinstance(self.retrain.schedule, Anytime):
            raise TableError(
                "an analysis with a decaying schedule: its amounts would not mean the same along "
                "a trajectory as alone",
                hint="leave the schedule anytime",
            )
        if not self.rates or self.repeats < 1:
            raise TableError("an analysis without rates or repeats", hint="give at least one")
        for rate in self.rates:
            if not (math.isfinite(rate) and 0 < rate <= 1):
                raise TableError(f"a fault rate of {rate}", hint="give fractions above 0, up to 1")
        object.__setattr__(self, "rates", tuple(sorted(set(self.rates))))

    def jobs(self) -> list[tuple[float, int]]:
        """Rate and number of every repeat."""
        return [(rate, repeat) for rate in self.rates for repeat in range(self.repeats)]

    def steps(self) -> Recipe:
        """The walk along one trajectory, with a look after each amount."""
        steps: list[Step] = [Prune(), Recalibrate(form=self.retrain.recalibrate), Measure()]
        for before, amount in itertools.pairwise(self.amounts):
            steps += [replace(self.retrain, epochs=round(amount - before, 9)), Measure()]
        return tuple(steps)


def trajectory(
    task: Task,
    array: Array,
    analysis: Analysis,
    job: tuple[float, int],
    *,
    seed: int,
    tick: Tick = lambda _: None,
) -> Trajectory:
    """Measure one repeat.

    Args:
        task: The clean network and its data.
        array: The array and its placement.
        analysis: Amounts, spatial distribution and retraining.
        job: Rate and number of the repeat.
        seed: The seed of the run.
        tick: Called now and then with the epoch-equivalents worked so far.

    Returns:
        Validation accuracy after each amount, with what it cost.
    """
    rate, repeat = job
    chip = f"analysis/{rate!r}/{repeat}"
    faults = fault_map(array, rate, analysis.spatial, seed=seed, chip=chip)
    bench = Workbench(task, array, faults.unusable, chip=chip, seed=seed, tick=tick)
    walked: Recipe = ()
    accuracies = []
    started = time.perf_counter()
    for step in analysis.steps():
        walked = (*walked, step)
        if isinstance(step, Measure):
            accuracies.append(float(bench.validation(walked).mean()))
        else:
            bench.network(walked)
    return Trajectory(
        rate=rate,
        repeat=repeat,
        effective_rate=effective_rate(weights_per_pe(task.model, array), faults.unusable),
        accuracies=tuple(accuracies),
        ee=bench.spent(walked).ee,
        seconds=time.perf_counter() - started,
    )
