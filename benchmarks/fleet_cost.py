"""What a fleet costs under the cascade, beside Reduce, fixed amounts and until-met.

The campaign is that of ``reproduce/reduce/study.toml``, and so is its run folder: started again it
goes on where it was, as ``chipmend compare`` on that plan does.

``*_ee_per_chip`` is without the analysis, ``*_ee_100`` with each policy's own analysis and shared
calibration spread over 100 chips. ``cascade_over_fixed_*`` compares with the cheapest fixed amount
that meets the constraint on at least as many chips. As one split into validation and test may be
lucky, the networks that ship are scored on both, and the two are pooled and drawn anew.
"""

import io
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record

import chipmend as cm
from chipmend.cli.bars import Bars
from chipmend.confidence import holds, measured
from chipmend.files import write_bytes
from chipmend.fleet import Outcome
from chipmend.fleet.ledger import PolicySum
from chipmend.network import scores
from chipmend.network.processor import computing_with, keep_freed_memory
from chipmend.plan import Plan, read_plan
from chipmend.policy import Group, Observation, Scrap, Ship
from chipmend.policy.cascade import GENTLE, RUNGS
from chipmend.recipes import merged
from chipmend.records import plain
from chipmend.repairs import Workbench
from chipmend.repairs.calibration import Calibration
from chipmend.steps import Recipe

STUDY = Path(__file__).parents[1] / "reproduce" / "reduce" / "study.toml"
REPAIR: Recipe = RUNGS[-1]
INCREMENT = cm.Cascade().increment
NETWORKS = [
    *map(merged, RUNGS),
    *(merged((*REPAIR, replace(GENTLE, epochs=round(INCREMENT * n, 9)))) for n in range(1, 6)),
]
"""Recipes of all networks that the cascade comes to within half an epoch."""
VALIDATION = 5000
NEVER_RETRAINED = 0.006
"""A drop after the last rung up to which no look is so unlucky that a chip is retrained."""
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
        "cascade_over_fixed_seconds": _over(cascade.seconds, cheapest and cheapest.seconds),
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


class Predictions:
    """Which images each network of a chip gets right: on every rung, and retrained from the last.

    Args:
        run: The run folder; what was predicted is kept there.
    """

    def __init__(self, run: Path) -> None:
        plan = read_plan(STUDY)[0]
        self._folder, self._array, self._seed = run / "predictions", plan.array, plan.seed
        self._task = plan.task()
        known = run / "predictions" / "calibration"
        self._calibration = Calibration(self._task, plan.seed, folder=known)
        self.clean = self._scored(lambda split: scores(self._task.model, split, self._task.metric))

    def of(self, chip: cm.Chip) -> dict[Recipe, np.ndarray]:
        """Hits on validation, then test, by recipe."""
        path = self._folder / f"{chip.id}.npy"
        if not path.exists():
            bench = Workbench(
                self._task,
                self._array,
                chip.faults.unusable,
                chip=chip.id,
                seed=self._seed,
                calibration=self._calibration,
            )
            found = [self._hits(bench, recipe) for recipe in NETWORKS[: len(RUNGS)]]
            if np.mean(self.clean) - np.mean(found[-1]) > NEVER_RETRAINED:
                found += [self._hits(bench, recipe) for recipe in NETWORKS[len(RUNGS) :]]
            packed = io.BytesIO()
            np.save(packed, np.packbits(found, axis=1))
            write_bytes(path, packed.getvalue())
        hits = np.unpackbits(np.load(path), axis=1)[:, : len(self.clean)] > 0
        return dict(zip(NETWORKS, hits, strict=False))

    def _hits(self, bench: Workbench, recipe: Recipe) -> np.ndarray:
        bench.network(recipe)
        back = np.argsort(self._task.look_order(self._seed).numpy())
        return np.concatenate([bench.validation(recipe)[back], bench.test(recipe)]) > 0

    def _scored(self, score: Callable[[Any], np.ndarray]) -> np.ndarray:
        return np.concatenate([score(self._task.validation), score(self._task.test)]) > 0


def replayed(
    chip: cm.Chip, hits: dict[Recipe, np.ndarray], clean: np.ndarray, order: np.ndarray
) -> bool | None:
    """Whether a chip meets the constraint on a drawn test split after its drawn validation.

    Returns:
        None where the cascade would retrain beyond what was predicted.
    """
    policy, seen, constraint = cm.Cascade(), [], read_plan(STUDY)[0].constraint
    group = Group(chips=(chip.id,))
    while not isinstance(action := policy.next(group, constraint, seen, None), Ship | Scrap):
        here = merged(tuple(o.step for o in seen))
        if not isinstance(action, cm.Measure):
            seen.append(Observation(action, damage=0.0 if isinstance(action, cm.Assess) else None))
            continue
        if here not in hits:
            return None
        at = order[: round(action.share * VALIDATION)]
        looked = measured(constraint, hits[here][at].astype(float), clean[at].astype(float))
        seen.append(Observation(action, measured=looked))
    if isinstance(action, Scrap):
        return False
    here, at = merged(tuple(o.step for o in seen)), order[VALIDATION:]
    return holds(constraint, hits[here][at].astype(float), clean[at].astype(float))


def redrawn(run: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Chips that meet the constraint under each draw of validation and test."""
    chips = read_plan(STUDY)[0].lot()
    chips = [chips[place] for place in QUICK] if quick else list(chips)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        for done in [pool.submit(predict, run, chips[worker::2]) for worker in range(2)]:
            done.result()
    kept = Predictions(run)
    found = {chip.id: kept.of(chip) for chip in chips}
    rows = []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(kept.clean))
        ends = [replayed(chip, found[chip.id], kept.clean, order) for chip in chips]
        met, unknown = sum(end is True for end in ends), sum(end is None for end in ends)
        rows.append({"draw": draw, "met": met, "unknown": unknown, "chips": len(chips)})
    return rows


def predict(run: Path, chips: Sequence[cm.Chip]) -> None:
    """Predict some chips; in a worker process."""
    keep_freed_memory()
    with computing_with(1):
        kept = Predictions(run)
        for chip in chips:
            kept.of(chip)


def main() -> None:
    options = record.arguments(__doc__)
    plan, tables = read_plan(STUDY)
    run = run_folder(plan, quick=options.quick)
    outcome = campaign(plan, tables, quick=options.quick)
    draws = redrawn(run, quick=options.quick)
    found = figures(outcome) | {
        "redrawn_met_least": min(row["met"] for row in draws),
        "redrawn_unknown_most": max(row["unknown"] for row in draws),
    }
    rows = [plain(s) for s in outcome.sums()]
    record.write("fleet_cost", options, found, [*rows, *draws])


if __name__ == "__main__":
    main()
