"""Resilience analysis (Reduce, step 1): how accuracy answers to faults and to retraining.

Each repeat has a fault map of its own and one training trajectory; every amount is a stop on it.
Repairs without training can be looked at on the way, for policies that choose among them.

References:
    [Hanif2023] Hanif, Shafique, "Reduce: a framework for reducing the overheads of fault-aware
        retraining", 2023.
"""

import itertools
import math
import time
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from jaxtyping import Float64

from chipmend.confidence.constraint import Accuracy, Drop, measured
from chipmend.confidence.intervals import Measured
from chipmend.errors import TableError
from chipmend.faults.generate import Spatial, Uniform, fault_map
from chipmend.hardware.array import Array
from chipmend.network.task import Task
from chipmend.recipes import (
    BYPASS,
    check_leads_to,
    check_start,
    merged,
    ready_to_ship,
    steps_toward,
)
from chipmend.records import ByField, ByKind
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.prune import effective_rate, weights_per_pe
from chipmend.repairs.workbench import Tick, Workbench
from chipmend.resilience.table import Rung, Trajectory, check_amounts
from chipmend.steps import Anytime, Assess, Measure, Recipe, Retrain, Step

SURE = 0.025
"""P-value at which a constraint surely holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What the resilience analysis measures.

    Args:
        rates: Fault rates (base: per PE).
        amounts: Epochs of retraining, ascending from 0.
        repeats: Independent fault maps at each rate.
        spatial: How faults lie on the die.
        start: What comes before retraining.
        retrain: How to retrain; its amount does not count.
        rungs: Repairs that are looked at before the start, for policies that choose among them.
        share: Of the validation split that each look sees.
        until: What each chip has to reach; where it surely does, a repeat trains no further.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    rates: tuple[float, ...] = (0.01, 0.1, 0.2, 0.35, 0.5)
    amounts: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
    repeats: int = 5
    spatial: Annotated[Spatial, ByKind()] = field(default_factory=Uniform)
    start: tuple[Annotated[Step, ByKind()], ...] = BYPASS
    retrain: Retrain = field(default_factory=Retrain)
    rungs: tuple[tuple[Annotated[Step, ByKind()], ...], ...] = ()
    share: float = 1.0
    until: Annotated[Drop | Accuracy, ByField("drop", "accuracy")] | None = None

    def __post_init__(self) -> None:
        check_amounts(self.amounts)
        Measure(share=self.share)  # refuses what is no share
        for recipe in (self.start, *self.rungs):
            check_start(recipe, "the analysis: a recipe")
        ready = ready_to_ship(self.start, self.retrain.recalibrate)
        for before, recipe in itertools.pairwise((*self.rungs, ready)):
            if merged(before) != merged(recipe):
                check_leads_to(before, recipe, "the analysis: a recipe")
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

    def repairs(self) -> tuple[Step, ...]:
        """All steps that are carried out beside retraining and looks."""
        assess = (Assess(),) if self.rungs else ()
        return (*assess, *itertools.chain(*self.rungs, self.start))

    def jobs(self) -> list[tuple[float, int]]:
        """Rate and number of every repeat."""
        return [(rate, repeat) for rate in self.rates for repeat in range(self.repeats)]

    def steps(self) -> Recipe:
        """The walk along one trajectory from its start, with a look after each amount."""
        look = Measure(share=self.share)
        steps: list[Step] = [*ready_to_ship(self.start, self.retrain.recalibrate), look]
        for before, amount in itertools.pairwise(self.amounts):
            steps += [replace(self.retrain, epochs=round(amount - before, 9)), look]
        return tuple(steps)


def trajectory(
    task: Task,
    array: Array,
    analysis: Analysis,
    job: tuple[float, int],
    *,
    clean: Float64[np.ndarray, " samples"],
    seed: int,
    calibration: Calibration | None = None,
    tick: Tick = lambda _: None,
) -> Trajectory:
    """Measure one repeat.

    Args:
        task: The clean network and its data.
        array: The array and its placement.
        analysis: Amounts, spatial distribution and retraining.
        job: Rate and number of the repeat.
        clean: Scores of the clean network on the validation split.
        seed: The seed of the run.
        calibration: What closed-form repair knows of the network.
        tick: Called now and then with the epoch-equivalents worked so far.

    Returns:
        Validation accuracy after each amount, with what it cost.
    """
    rate, repeat = job
    chip = f"analysis/{rate!r}/{repeat}"
    faults = fault_map(array, rate, analysis.spatial, seed=seed, chip=chip)
    bench = Workbench(
        task, array, faults.unusable, chip=chip, seed=seed, calibration=calibration, tick=tick
    )
    for step in analysis.repairs():
        bench.calibration.prepare(step)
    started = time.perf_counter()
    walk = _Walk(bench, analysis.until or Drop(0.0), clean[task.look_order(seed)])
    damage = walk.damage() if analysis.rungs else None
    rungs = [walk.rung(recipe, analysis.share) for recipe in analysis.rungs]
    accuracies = walk.trained(analysis)
    return Trajectory(
        rate=rate,
        repeat=repeat,
        effective_rate=effective_rate(weights_per_pe(task.model, array), faults.unusable),
        accuracies=tuple(accuracies),
        ee=bench.spent(walk.recipe).ee,
        seconds=time.perf_counter() - started,
        damage=damage,
        rungs=tuple(rungs),
    )


@dataclass(eq=False)
class _Walk:
    """One repeat on its way.

    Args:
        bench: Its fault map's bench.
        constraint: What p-values are about.
        clean: Scores of the clean network, in the order of looks.
        recipe: What was done so far.
    """

    bench: Workbench
    constraint: Drop | Accuracy
    clean: Float64[np.ndarray, " samples"]
    recipe: Recipe = ()

    def damage(self) -> float:
        """Prune, and assess that."""
        assess = Assess()
        self._do((*BYPASS, assess))
        return self.bench.damage(self.recipe, assess.moments)

    def rung(self, recipe: Recipe, share: float) -> Rung:
        """Climb a rung and look."""
        self._do(steps_toward(self.recipe, recipe))
        seen = self._look(Measure(share=share))
        return Rung(accuracy=self._paired(seen), p_value=seen.p_value)

    def trained(self, analysis: Analysis) -> list[float]:
        """Accuracies along the amounts, up to where the constraint surely holds."""
        steps = analysis.steps()
        start = next(place for place, step in enumerate(steps) if isinstance(step, Measure))
        self._do(steps_toward(self.recipe, steps[:start]))
        accuracies = []
        for step in steps[start:]:
            if not isinstance(step, Measure):
                self._do((step,))
                continue
            seen = self._look(step)
            accuracies.append(self._paired(seen))
            if analysis.until is not None and seen.p_value <= SURE:
                break
        return accuracies

    def _do(self, steps: Recipe) -> None:
        for step in steps:
            self.recipe = (*self.recipe, step)
            self.bench.carry_out(self.recipe)

    def _look(self, step: Measure) -> Measured:
        self.recipe = (*self.recipe, step)
        found = self.bench.validation(self.recipe, step.share)
        return measured(self.constraint, found, self.clean[: len(found)])

    def _paired(self, seen: Measured) -> float:
        """Accuracy on the whole split, as the difference to the clean network on a share says."""
        return seen.accuracy + float(self.clean.mean() - self.clean[: seen.samples].mean())
