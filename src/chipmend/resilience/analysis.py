"""Resilience analysis (Reduce, step 1): how accuracy answers to faults and to retraining.

Each repeat has a fault map of its own and one training trajectory; every amount is a stop on it.
Repairs without training can be looked at on the way, for policies that choose among them.

References:
    [Hanif2023] Hanif, Shafique, "Reduce: a framework for reducing the overheads of fault-aware
        retraining", 2023.
"""

import itertools
import time
from dataclasses import dataclass, field, replace
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float64

from chipmend.confidence.constraint import Accuracy, Drop, implies, measured
from chipmend.confidence.intervals import Measured
from chipmend.errors import TableError
from chipmend.faults.generate import Spatial, Uniform, fault_map
from chipmend.faults.maps import FaultMap
from chipmend.faults.screening import Margin
from chipmend.faults.stuck_at import Cells, Scattered, StuckAt, stuck_bits
from chipmend.hardware.array import Array
from chipmend.network.task import Task
from chipmend.recipes import (
    BYPASS,
    check_leads_to,
    check_start,
    is_quantized,
    merged,
    ready_to_ship,
    steps_toward,
)
from chipmend.records import ByField, ByKind
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.prune import effective_rate, weights_per_pe
from chipmend.repairs.workbench import Tick, Workbench
from chipmend.resilience.table import SURE, Point, Rung, Trajectory, check_amounts
from chipmend.resilience.trial import TrialFile, TrialLot
from chipmend.steps import Anytime, Assess, Measure, Recipe, Retrain, Step

RATES = (0.01, 0.1, 0.2, 0.35, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What the resilience analysis measures.

    Args:
        rates: Fault rates (base: per PE); by default a few where no ``bit_rates`` are given, and
            none of the PEs faulty where they are.
        amounts: Epochs of retraining, ascending from 0.
        repeats: Independent fault maps at each rate.
        spatial: How faults lie on the die.
        start: What comes before retraining.
        retrain: How to retrain; its amount does not count.
        rungs: Repairs that are looked at before the start, for policies that choose among them.
        share: Of the validation split that each look sees.
        until: What each chip has to reach; where it surely does, a repeat trains no further.
        bit_rates: Rates of stuck bits in the weight memory (base: per bit), one for each of
            ``rates`` where these are given too: maps then grow worse in both at once.
        cells: How stuck bits lie in the memory.
        at_1: Share of them that is stuck at 1.
        trial: A trial lot, for policies that promise coverage: each of its chips is looked at on
            the whole validation split, beside the repeats.
        in_codes: Whether networks have to be codes though no bit of the maps' memory is stuck,
            since datapaths of chips have faults that nothing bypasses; campaigns fill it in.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    rates: tuple[float, ...] = ()
    amounts: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
    repeats: int = 5
    spatial: Annotated[Spatial, ByKind()] = field(default_factory=Uniform)
    start: tuple[Annotated[Step, ByKind()], ...] = BYPASS
    retrain: Retrain = field(default_factory=Retrain)
    rungs: tuple[tuple[Annotated[Step, ByKind()], ...], ...] = ()
    share: float = 1.0
    until: Annotated[Drop | Accuracy, ByField("drop", "accuracy")] | None = None
    bit_rates: tuple[float, ...] = ()
    cells: Annotated[Cells, ByKind()] = field(default_factory=Scattered)
    at_1: float = 0.5
    trial: Annotated[TrialFile | TrialLot, ByField("file", "rate")] | None = None
    in_codes: bool = False

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
        if self.repeats < 1:
            raise TableError("an analysis without repeats", hint="give at least one")
        self._pair_rates()

    def _pair_rates(self) -> None:
        """Put both kinds of rate in order, one of each for every point."""
        rates = self.rates or ((0.0,) * len(self.bit_rates) if self.bit_rates else RATES)
        bits = self.bit_rates or (0.0,) * len(rates)
        if len(rates) != len(bits):
            raise TableError(
                f"{len(rates)} fault rates and {len(bits)} rates of stuck bits",
                hint="give as many of both, or only one kind",
            )
        pairs = sorted(set(zip(rates, bits, strict=True)))
        for rate, bit_rate in pairs:
            if not (0 <= rate <= 1 and 0 <= bit_rate <= 1 and rate + bit_rate > 0):
                said = f"a fault rate of {rate}" + (f" with {bit_rate}" if self.bit_rates else "")
                raise TableError(said, hint="give fractions above 0, up to 1")
            self._stuck(bit_rate)  # refuses what cells of this kind cannot reach
        rates, bits = (tuple(each) for each in zip(*pairs, strict=True))
        if list(bits) != sorted(bits):
            raise TableError(
                f"rates of stuck bits of {bits} beside fault rates of {rates}",
                hint="let both grow from point to point",
            )
        object.__setattr__(self, "rates", rates)
        object.__setattr__(self, "bit_rates", bits if any(bits) else ())

    def _stuck(self, bit_rate: float) -> StuckAt:
        return StuckAt(rate=bit_rate, cells=self.cells, at_1=self.at_1)

    def faults(self, array: Array, point: Point, *, seed: int, chip: str) -> FaultMap:
        """Draw a fault map: PEs that must not be used, and stuck bits if there are to be any.

        Args:
            array: The array; its memory states its words if bits are to be stuck.
            point: What they are drawn at.
            seed: The seed of the run.
            chip: Identity of the repeat.
        """
        faults = FaultMap.of_pes(np.zeros((array.rows, array.cols), bool))
        if point.rate:
            faults = fault_map(array, point.rate, self.spatial, seed=seed, chip=chip)
        if not point.bit_rate:
            return faults
        stuck = self._stuck(point.bit_rate)
        return replace(faults, stuck=stuck_bits(array.memory, stuck, seed=seed, chip=chip))

    def map_of(
        self, job: "Repeat", array: Array, *, seed: int, chip: str
    ) -> tuple[Point, FaultMap]:
        """What a repeat's map is drawn at, and the map: its own rates, of a chip of the trial lot.

        Args:
            job: The repeat.
            array: The array; its memory states its words if bits are to be stuck.
            seed: The seed of the run.
            chip: Identity of the repeat.
        """
        if job.point is not None:
            return job.point, self.faults(array, job.point, seed=seed, chip=chip)
        assert self.trial is not None
        faults = self.trial.chip(array, job.number, seed=seed).faults
        return Point(faults.rate, faults.stuck.rate if faults.stuck else 0.0), faults

    def check_runs_on(self, array: Array) -> None:
        """Refuse an analysis of networks that its chips would not compute.

        Args:
            array: The array.

        Raises:
            TableError: Chips have stuck bits, and a recipe chooses no codes.
            FaultMapError: The trial lot is of another array.
        """
        if self.trial is not None:
            self.trial.check_fits(array)
        recipes = (self.start, *self.rungs)
        if self.needs_codes and not all(is_quantized(recipe) for recipe in recipes):
            raise TableError(
                "an analysis of stuck bits, which a recipe of it does not see: it chooses no codes",
                hint="put quantize into its start, and into every rung",
            )

    @property
    def needs_codes(self) -> bool:
        """Whether networks have to be codes."""
        hit = self.trial is not None and self.trial.has_stuck_macs
        return self.in_codes or self.has_stuck_bits or hit

    @property
    def has_stuck_bits(self) -> bool:
        """Whether bits of any of its maps are stuck."""
        return bool(self.bit_rates or (self.trial and self.trial.has_stuck_bits))

    def repairs(self) -> tuple[Step, ...]:
        """All steps that are carried out beside retraining and looks."""
        assess = (Assess(),) if self.rungs else ()
        return (*assess, *itertools.chain(*self.rungs, self.start))

    @property
    def points(self) -> list[Point]:
        """What fault maps are drawn at, ascending."""
        bits = self.bit_rates or (0.0,) * len(self.rates)
        return [Point(*pair) for pair in zip(self.rates, bits, strict=True)]

    def jobs(self) -> list["Repeat"]:
        """Every repeat."""
        return [Repeat(point, number) for point in self.points for number in range(self.repeats)]

    def trial_jobs(self) -> list["Repeat"]:
        """Every chip of the trial lot."""
        return [Repeat(None, number) for number in range(self.trial.count if self.trial else 0)]

    def steps(self) -> Recipe:
        """The walk along one trajectory from its start, with a look after each amount."""
        look = Measure(share=self.share)
        steps: list[Step] = [*ready_to_ship(self.start, self.retrain.recalibrate), look]
        for before, amount in itertools.pairwise(self.amounts):
            steps += [replace(self.retrain, epochs=round(amount - before, 9)), look]
        return tuple(steps)


def check_until(until: Drop | Accuracy | None, constraint: Drop | Accuracy, where: str) -> None:
    """Refuse an analysis whose repeats may stop before they meet what is asked of chips.

    Raises:
        TableError: They stop at another constraint, which does not imply it.
    """
    if until is not None and not implies(until, constraint):
        raise TableError(
            f"{where}: repeats are trained until '{until}', and chips have to meet '{constraint}'",
            hint="leave until out, or make it as strict as the constraint",
        )


class Repeat(NamedTuple):
    """One fault map of the analysis.

    Args:
        point: What it is drawn at; none for a chip of the trial lot.
        number: Which one of those it is.
    """

    point: Point | None
    number: int

    @property
    def key(self) -> str:
        """Its name, the same in every run."""
        if self.point is None:
            return f"trial/{self.number}"
        rates = [self.point.rate, *([self.point.bit_rate] if self.point.bit_rate else [])]
        return "/".join(map(repr, [*rates, self.number]))


def trajectory(
    task: Task,
    array: Array,
    analysis: Analysis,
    job: Repeat,
    *,
    clean: Float64[np.ndarray, " samples"],
    seed: int,
    calibration: Calibration | None = None,
    margin: Margin | None = None,
    tick: Tick = lambda _: None,
) -> Trajectory:
    """Measure one repeat.

    Args:
        task: The clean network and its data.
        array: The array and its placement.
        analysis: Amounts, spatial distribution and retraining.
        job: The repeat.
        clean: Scores of the clean network on the validation split.
        seed: The seed of the run.
        calibration: What closed-form repair knows of the network.
        margin: What looks allow for beside the map.
        tick: Called now and then with the epoch-equivalents worked so far.

    Returns:
        Validation accuracy after each amount, with what it cost.
    """
    chip = f"analysis/{job.key}"
    known = calibration or Calibration(task, seed)
    filled = known.filled(array.memory) if analysis.has_stuck_bits else None
    if filled is not None:
        array = replace(array, memory=replace(array.memory, words=filled.words))
    on_trial = job.point is None
    if on_trial and analysis.trial is not None:
        analysis = replace(analysis, share=1.0, until=analysis.trial.until)
    point, faults = analysis.map_of(job, array, seed=seed, chip=chip)
    bench = Workbench(
        task, array, faults, chip=chip, seed=seed, calibration=known, tick=tick, margin=margin
    )
    for step in analysis.repairs():
        bench.calibration.prepare(step)
    started = time.perf_counter()
    walk = _Walk(bench, analysis.until or Drop(0.0), clean[task.look_order(seed)])
    damage = walk.damage() if analysis.rungs else None
    rungs = [walk.rung(recipe, analysis.share) for recipe in analysis.rungs]
    # what retraining gives is learnt from the repeats; of a trial lot rungs tell all there is to
    accuracies = [] if on_trial and analysis.rungs else walk.trained(analysis)
    return Trajectory(
        rate=point.rate,
        repeat=job.number,
        effective_rate=effective_rate(weights_per_pe(task.model, array), faults.unusable),
        accuracies=tuple(accuracies),
        ee=bench.spent(walk.recipe).ee,
        seconds=time.perf_counter() - started,
        damage=damage,
        rungs=tuple(rungs),
        bit_rate=point.bit_rate,
        effective_bit_rate=(faults.stuck.rate_among(filled) if faults.stuck and filled else 0.0),
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
        ee = self.bench.spent(self.recipe).ee
        return Rung(accuracy=self._paired(seen), p_value=seen.p_value, ee=ee)

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
