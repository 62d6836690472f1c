"""Promised and measured coverage: calibrate on chips, then test on others.

Every chip of a pool is retrained once (for Reduce), and repaired once on every rung (for the
cascade), with a look after each step. From that follows what either policy does with it, whatever
it promises. A draw calibrates on 200 uniform chips and tests on 200 others, or on 200 chips whose
faults gather in clusters or lie in lines. As draws split one pool, whose chips are exchangeable,
their mean tells whether rules and their code do what they should, and says nothing of how lucky
the pool was; fresh lots of 200 are really mended, and read on the test split. What Reduce gives
chips of a pool lies between two measured amounts.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import chipmend as cm
from chipmend.confidence.shift import shifts
from chipmend.errors import TableError
from chipmend.faults.traits import traits_of
from chipmend.policy import Group, Observation, Scrap, Ship
from chipmend.recipes import BYPASS, merged
from chipmend.resilience import Analysis, ResilienceTable, Trajectory
from chipmend.steps import Assess, Compensate, Measure, OneShot, Remap
from decisions.bench import KINDS, LENIENT, Bench, Row, row_of

COVERAGES = (0.9, 0.95)
DRAWS = 100
CALIBRATED, UNIFORM, SHIFTED = 200, 400, 200
STRICT = cm.Drop(0.01)
"""What the cascade is to keep, on rungs that do not always do."""
RUNGS = (
    (*BYPASS, Compensate(form=OneShot())),
    (Remap(), *BYPASS, Compensate(form=OneShot())),
)
CASCADE = cm.Cascade(rungs=RUNGS, amounts=(0.0, 0.1), coverage=COVERAGES[0])
HARDLY_TRAINING = replace(CASCADE, increment=0.05, most=0.05)
"""The cascade for chips that are really mended: what it ships after a look is not in question."""
REAL = 200
MOST, MOST_OF_CASCADE = 0.25, 0.4
"""Highest fault rates of chips that Reduce, and the cascade, are calibrated on."""
RATES_OF_CASCADE = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
"""Rates at which the cascade learns what its rungs come to, up to those of the chips."""
LOTS, OF_LOT = 40, 100
RANGES = ((0.02, 0.2), (0.05, 0.15), (0.02, 0.4))
SIZES = (32, 64)
Tables = dict[str, ResilienceTable]


def trial(bench: Bench, kind: str, most: float) -> cm.TrialLot:
    """The pool of one kind of fault."""
    count = bench.chips(UNIFORM if kind == "uniform" else SHIFTED)
    return cm.TrialLot(rate=(0.02, most), count=count, spatial=KINDS[kind])


def reduce_table(bench: Bench, kind: str) -> ResilienceTable:
    """Reduce's, with the pool of one kind of fault as its trial lot."""
    grid = replace(bench.grid, trial=trial(bench, kind, MOST))
    return _table(bench, cm.Reduce(coverage=_least(bench)), grid, LENIENT, kind)


def cascade_table(bench: Bench, kind: str) -> ResilienceTable:
    """The cascade's."""
    grid = replace(bench.grid, rates=_rates_of_cascade(bench))
    grid = replace(grid, trial=trial(bench, kind, MOST_OF_CASCADE))
    return _table(bench, replace(CASCADE, coverage=_least(bench)), grid, STRICT, kind)


def _rates_of_cascade(bench: Bench) -> tuple[float, ...]:
    return bench.grid.rates if bench.quick else RATES_OF_CASCADE


def _table(
    bench: Bench, policy: cm.Reduce | cm.Cascade, grid: Analysis, within: cm.Drop, kind: str
) -> ResilienceTable:
    analysis = policy.analysis(grid, within)
    assert analysis is not None
    return bench.table(f"pool of {kind} chips for {policy.kind}", analysis)


def _least(bench: Bench) -> float:
    """The least coverage that is promised: few chips support no more."""
    return 0.5 if bench.quick else COVERAGES[0]


def rows(bench: Bench) -> list[Row]:
    """Reduce as published, then what both policies promise."""
    of_reduce = {kind: reduce_table(bench, kind) for kind in KINDS}
    of_cascade = {kind: cascade_table(bench, kind) for kind in KINDS}
    return [
        *max_of_five(bench, of_reduce),
        *drawn(bench, "Reduce", of_reduce),
        *drawn(bench, "Cascade", of_cascade),
    ]


def reduced(
    policy: cm.Reduce, table: ResilienceTable, chips: Sequence[Trajectory], bench: Bench
) -> list[tuple[bool, float]]:
    """Of chips that Reduce ships, whether each meets the constraint, and the epochs it got."""
    healthy = cm.Chip("x", cm.FaultMap.of_pes(np.zeros((32, 32), bool)))
    dies = [
        replace(bench.dies([replace(healthy, id=str(at))])[0], effective_rate=chip.effective_rate)
        for at, chip in enumerate(chips)
    ]
    groups = policy.plan(dies, LENIENT, table)
    return [
        (group.epochs >= table.just_needed(chip, LENIENT), group.epochs)
        for group, chip in zip(groups, chips, strict=True)
        if np.isfinite(group.epochs)
    ]


def unseen(
    policy: cm.Cascade, table: ResilienceTable, chips: Sequence[Trajectory]
) -> list[tuple[bool, float]]:
    """Of chips that the cascade ships without a look, whether each meets the constraint.

    None of them is retrained.
    """
    bar = table.clean_accuracy - STRICT.drop
    rungs = [(_shipped_unseen(policy, table, chip), chip) for chip in chips]
    shipped = [chip.rungs[rung] for rung, chip in rungs if rung is not None]
    return [(rung.accuracy >= bar - 1e-9, 0.0) for rung in shipped]


def _shipped_unseen(policy: cm.Cascade, table: ResilienceTable, chip: Trajectory) -> int | None:
    """The rung that a chip ships from; none if it is looked at first, or has no faults."""
    group = Group(chips=("x",), effective_rate=chip.effective_rate)
    seen: list[Observation] = []
    while not isinstance(action := policy.next(group, STRICT, seen, table), Ship | Scrap | Measure):
        damage = chip.damage if isinstance(action, Assess) else None
        seen.append(Observation(action, damage=damage))
    if not isinstance(action, Ship):
        return None
    places = {merged(rung): at for at, rung in enumerate(RUNGS)}
    return places.get(merged(tuple(each.step for each in seen)))


def drawn(bench: Bench, policy: str, tables: Tables) -> list[Row]:
    """Promised and measured, over draws of what is calibrated on and what is tested."""
    pool = tables["uniform"].trial
    rng, half = np.random.default_rng(0), len(pool) // 2
    orders = [rng.permutation(len(pool)) for _ in range(DRAWS)]
    rows = []
    for coverage in (0.5,) if bench.quick else COVERAGES:
        for kind in tables:
            found, tested = [], 0
            for order in orders:
                known, others = ([pool[at] for at in part] for part in (order[:half], order[half:]))
                table = replace(tables["uniform"], trial=tuple(known))
                chips = others if kind == "uniform" else tables[kind].trial
                tested = len(chips)
                found.append(_shipped(policy, coverage, table, chips, bench))
            told = {"policy": policy, "promised": coverage, "tested_on": kind}
            counts = {"calibrated_on": half, "tested": tested}
            rows.append({"part": "coverage", **told, **counts, **_measured(found)})
    return rows


def _shipped(
    policy: str,
    coverage: float,
    table: ResilienceTable,
    chips: Sequence[Trajectory],
    bench: Bench,
) -> list[tuple[bool, float]]:
    """What a policy ships under a promise: nothing where no setting keeps it."""
    if policy == "Cascade":
        return unseen(replace(CASCADE, coverage=coverage), table, chips)
    try:
        return reduced(cm.Reduce(coverage=coverage), table, chips, bench)
    except TableError:
        return []


def _measured(found: Sequence[Sequence[tuple[bool, float]]]) -> Row:
    """What came of draws in which something ships."""
    draws = [given for given in found if given]
    if not draws:
        return {"draws": 0, "of_draws": len(found), "measured": None}
    met = np.array([np.mean([met for met, _ in given]) for given in draws])
    spent = np.array([np.mean([spent for _, spent in given]) for given in draws])
    return {
        "draws": len(draws),
        "of_draws": len(found),
        "measured": float(met.mean()),
        "measured_low": float(np.quantile(met, 0.05)),
        "measured_high": float(np.quantile(met, 0.95)),
        "shipped": float(np.mean([len(given) for given in draws])),
        "spent": float(spent.mean()),
    }


def max_of_five(bench: Bench, tables: Tables) -> list[Row]:
    """Reduce as published, which promises nothing: the maximum of five repeats at each rate."""
    rows = []
    for kind, table in tables.items():
        found = [reduced(cm.Reduce(), table, table.trial, bench)]
        told = {"policy": "Reduce-max", "promised": None, "tested_on": kind}
        told |= {"calibrated_on": 0, "tested": len(table.trial)}
        rows.append({"part": "coverage", **told, **_measured(found)})
    return rows


def really(bench: Bench) -> list[Row]:
    """Fresh lots, mended: what is met on the test split, of what ships without a look above all."""
    promised = (0.5,) if bench.quick else COVERAGES
    reduces = [cm.Reduce(), *(cm.Reduce(coverage=share) for share in promised)]
    cascades = [replace(HARDLY_TRAINING, coverage=share) for share in promised]
    at_rates = replace(bench.grid, rates=_rates_of_cascade(bench))
    return [
        *_really(bench, "fresh lot", reduces, bench.grid, LENIENT, MOST),
        *_really(bench, "fresh lot of the cascade", cascades, at_rates, STRICT, MOST_OF_CASCADE),
    ]


def _really(
    bench: Bench,
    name: str,
    policies: Sequence[cm.Reduce | cm.Cascade],
    grid: Analysis,
    within: cm.Drop,
    most: float,
) -> list[Row]:
    lot = cm.make_chips(bench.array, rate=(0.02, most), count=bench.chips(REAL), seed=77)
    grid = replace(grid, trial=trial(bench, "uniform", most))
    outcome = bench.mended(name, lot, policies, analysis=grid, constraint=within)
    rows = []
    for s in outcome.sums():
        unseen, met = outcome.kept_here(s.policy)
        rows.append(row_of("fresh lot", s, unseen=unseen, unseen_met=met))
    return rows


def alarms(bench: Bench) -> list[Row]:
    """How often the shift check fires, on lots like the trial lot and on others."""
    lots = bench.chips(LOTS)
    return [
        {
            "part": "shift check",
            "array": size,
            "rate": rate,
            "lots_of": kind,
            "lots": lots,
            "fired": sum(_fires(size, rate, kind, lots * place + lot) for lot in range(lots)),
        }
        for place, (size, rate, kind) in enumerate(itertools.product(SIZES, RANGES, KINDS))
    ]


def _fires(size: int, rate: tuple[float, float], kind: str, seed: int) -> bool:
    """Whether the check fires on a lot, after a uniform trial lot of its own."""
    array = cm.Array(rows=size, cols=size)
    made = (
        cm.make_chips(array, rate=rate, count=CALIBRATED, seed=2 * seed),
        cm.make_chips(array, rate=rate, count=OF_LOT, spatial=KINDS[kind], seed=2 * seed + 1),
    )
    promised, found = (traits_of([chip.faults for chip in lot]) for lot in made)
    return bool(shifts(promised, found))
