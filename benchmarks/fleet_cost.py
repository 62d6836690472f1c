"""What a fleet costs under the cascade, beside Reduce, fixed amounts and until-met.

The campaign is that of ``reproduce/reduce/study.toml``, and so is its run folder: started again it
goes on where it was, as ``chipmend compare`` on that plan does.

``*_ee_per_chip`` is without the analysis, ``*_ee_100`` with each policy's own analysis and shared
calibration spread over 100 chips. ``cascade_over_fixed_*`` compares with the cheapest fixed amount
that meets the constraint on at least as many chips. As one split into validation and test may be
lucky, the two are pooled and drawn anew, and every chip goes through the cascade again.
"""

import functools
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import record

import chipmend as cm
from chipmend.cli.bars import Bars
from chipmend.confidence import holds, measured
from chipmend.confidence.sequential import samples_of
from chipmend.files import write_bytes
from chipmend.fleet import Outcome
from chipmend.fleet.campaign import calibration_of
from chipmend.fleet.fingerprint import described, digest_of_code
from chipmend.fleet.ledger import PolicySum
from chipmend.network import scores
from chipmend.network.processor import computing_with, keep_freed_memory
from chipmend.plan import Plan, read_plan
from chipmend.policy import Group, Observation, Scrap, Ship
from chipmend.recipes import merged
from chipmend.records import digest_of, plain
from chipmend.repairs import Workbench, effective_rate, weights_per_pe
from chipmend.steps import Recipe

STUDY = Path(__file__).parents[1] / "reproduce" / "reduce" / "study.toml"
DRAWS = 5
"""How often validation and test images are pooled and drawn anew."""
QUICK = (5, 35, 65)
"""Places in the lot of the chips that a quick run mends."""


def campaign(plan: Plan, tables: dict[str, Any], *, quick: bool) -> Outcome:
    """Run all policies over the lot."""
    lot, policies = plan.lot(), plan.deciders()
    if quick:
        lot = [lot[place] for place in QUICK]
        policies = [cm.FixedSteps(), cm.Fixed(epochs=0.1), cm.Cascade()]
    with Bars() as bars:
        return cm.mend(
            plan.task(),
            lot,
            array=plan.array,
            constraint=plan.constraint,
            policies=policies,
            analysis=plan.analysis,
            seed=plan.seed,
            run=run_folder(plan, quick=quick),
            workers=plan.execution.workers,
            threads=plan.execution.threads,
            progress=bars,
            plan=tables,
        )


def run_folder(plan: Plan, *, quick: bool) -> Path:
    """Where the campaign is kept."""
    folder = plan.execution.run
    return folder.with_name(folder.name + "-quick") if quick else folder


def figures(outcome: Outcome) -> dict[str, float | None]:
    """The numbers that claims rest on."""
    sums = {s.policy: s for s in outcome.sums()}
    cascade, reduce = sums["Cascade"], sums.get("Reduce-max")
    fixed = [s for name, s in sums.items() if name.startswith("Fixed") and s.met >= cascade.met]
    cheapest = min(fixed, key=lambda s: s.ee, default=None)
    return {
        "cascade_met": cascade.met,
        "reduce_max_met": reduce and reduce.met,
        "most_met_by_another": max(s.met for name, s in sums.items() if "Cascade" not in name),
        "cascade_over_reduce_max_ee_per_chip": _over(_own(cascade), reduce and _own(reduce)),
        "cascade_over_reduce_max_ee_100": _over_fleet(cascade, reduce, 100),
        "cascade_over_reduce_max_ee_5000": _over_fleet(cascade, reduce, 5000),
        "cascade_over_reduce_max_seconds_100": _over(
            _seconds(cascade, 100), reduce and _seconds(reduce, 100)
        ),
        "cascade_over_fixed_ee": _over(_own(cascade), cheapest and _own(cheapest)),
        "cascade_over_fixed_seconds": _over(
            cascade.seconds + cascade.seconds_shared,
            cheapest and cheapest.seconds + cheapest.seconds_shared,
        ),
    }


def _over(ours: float, theirs: float | None) -> float | None:
    return None if theirs is None else ours / theirs


def _own(policy: PolicySum) -> float:
    """EE per chip without the analysis; calibration is shared by the lot's own chips."""
    return (policy.ee + policy.ee_shared) / policy.chips


def _over_fleet(ours: PolicySum, theirs: PolicySum | None, fleet: int) -> float | None:
    return _over(ours.ee_per_chip_of(fleet), theirs and theirs.ee_per_chip_of(fleet))


def _seconds(policy: PolicySum, fleet: int) -> float:
    once = policy.seconds_analysis + policy.seconds_shared
    return policy.seconds / policy.chips + once / fleet


class Redraw:
    """Has chips go through the cascade anew, with other images for validation and test.

    Args:
        run: The run folder; how it ended for each chip is kept there.
    """

    def __init__(self, run: Path) -> None:
        self._plan, self._policy = read_plan(STUDY)[0], cm.Cascade()
        self._task = self._plan.task()
        self._calibration = calibration_of(self._task, self._plan.seed, 1, run)
        self._per_pe = weights_per_pe(self._task.model, self._plan.array)
        goes_by = [DRAWS, described(self._policy), digest_of_code(), Path(__file__).read_text()]
        self._folder = run / "redrawn" / digest_of(goes_by)
        splits = self._task.validation, self._task.test
        self._clean = np.concatenate(
            [scores(self._task.model, split, self._task.metric) for split in splits]
        )

    def met(self, chip: cm.Chip) -> list[bool]:
        """Whether the chip ships and meets the constraint, for every draw."""
        path = self._folder / f"{chip.id}.json"
        if not path.exists():
            scored = self._scores_of(chip)
            found = [self._replayed(chip, scored, draw) for draw in range(DRAWS)]
            write_bytes(path, json.dumps(found).encode())
        return json.loads(path.read_bytes())

    def _scores_of(self, chip: cm.Chip) -> Callable[[Recipe], np.ndarray]:
        """Scores on validation and test together after a recipe."""
        bench = Workbench(
            self._task,
            self._plan.array,
            chip.faults,
            chip=chip.id,
            seed=self._plan.seed,
            calibration=self._calibration,
        )
        back = np.argsort(self._task.look_order(self._plan.seed))
        return functools.cache(
            lambda recipe: np.concatenate([bench.validation(recipe)[back], bench.test(recipe)])
        )

    def _replayed(self, chip: cm.Chip, scored: Callable[[Recipe], np.ndarray], draw: int) -> bool:
        order = np.random.default_rng(draw).permutation(len(self._clean))
        count, constraint = len(self._task.validation), self._plan.constraint
        ask, seen = self._policy.next, list[Observation]()
        rate = effective_rate(self._per_pe, chip.faults.unusable)
        group = Group(chips=(chip.id,), effective_rate=rate)
        while not isinstance(action := ask(group, constraint, seen, None), Ship | Scrap):
            looked = None
            if isinstance(action, cm.Measure):
                at = order[: samples_of(action.share, count)]
                looked = measured(constraint, scored(_networks(seen))[at], self._clean[at])
            seen.append(Observation(action, measured=looked))
        at = order[count:]
        shipped = scored(_networks(seen))[at]
        return isinstance(action, Ship) and holds(constraint, shipped, self._clean[at])


def _networks(seen: Sequence[Observation]) -> Recipe:
    return merged(tuple(observation.step for observation in seen))


def redrawn(run: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Chips that meet the constraint under each draw of validation and test."""
    lot = read_plan(STUDY)[0].lot()
    lot = [lot[place] for place in QUICK] if quick else list(lot)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        parts = [pool.submit(redraw, run, lot[worker::2]) for worker in range(2)]
        ends = [end for part in parts for end in part.result()]
    return [
        {"draw": draw, "met": sum(met), "chips": len(lot)}
        for draw, met in enumerate(zip(*ends, strict=True))
    ]


def redraw(run: Path, chips: Sequence[cm.Chip]) -> list[list[bool]]:
    """How it ended for some chips; in a worker process."""
    keep_freed_memory()
    with computing_with(1):
        again = Redraw(run)
        return [again.met(chip) for chip in chips]


def main() -> None:
    options = record.arguments(__doc__)
    plan, tables = read_plan(STUDY)
    run = run_folder(plan, quick=options.quick)
    outcome = campaign(plan, tables, quick=options.quick)
    draws = redrawn(run, quick=options.quick)
    found = figures(outcome) | {"redrawn_met_least": min(row["met"] for row in draws)}
    rows = [plain(s) for s in outcome.sums()]
    record.write("fleet_cost", options, found, [*rows, *draws])


if __name__ == "__main__":
    main()
