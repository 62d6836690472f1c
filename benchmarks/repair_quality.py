"""How good repair without a gradient step is, and what it costs beside an epoch of training.

Accuracy: quarter-width VGG11 on Fashion-MNIST, 64 x 64 PEs, several chips per point; for each point
one recipe is chosen for all its chips by their mean validation accuracy, and only that one is read
on test. ``loss_*`` are points of test accuracy below the clean network, means over the chips.
Beside it, at realistic fault rates, the same and a depthwise network on 256 x 256 PEs.

Cost: repairs in turn with quarters of an epoch of fault-aware training, on one core; and one-shot
compensation of a full-width ResNet-18 with random weights, in a process of its own, beside an epoch
that is estimated from some of its steps.
"""

import itertools
import multiprocessing
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import networks
import numpy as np
import record
import torch
from scipy.stats import binomtest

import chipmend as cm
from chipmend.network import scores
from chipmend.network.processor import computing_with, keep_freed_memory
from chipmend.repairs import Retraining, Workbench
from chipmend.repairs.calibration import Calibration
from chipmend.steps import Recipe, Retrain

RATES = (10, 20, 30, 40, 50, 60)
REALISTIC = (1e-5, 1e-4, 1e-3)
SPATIAL = {"uniform": cm.Uniform(), "clustered": cm.Clustered(), "lines": cm.Lines()}
BASELINE: Recipe = (cm.Prune(), cm.Recalibrate(form=cm.Reestimate()))
RECIPES: dict[str, Recipe] = {
    "recalibrate": (cm.Prune(), cm.Recalibrate()),
    "one-shot": (cm.Prune(), cm.Compensate(form=cm.OneShot())),
    "remap + one-shot": (cm.Remap(), cm.Prune(), cm.Compensate(form=cm.OneShot())),
    "sequential": (cm.Prune(), cm.Compensate(form=cm.Sequential())),
    "remap + sequential": (cm.Remap(), cm.Prune(), cm.Compensate(form=cm.Sequential())),
}


@dataclass(frozen=True)
class Point:
    """Chips of one kind.

    Args:
        network: Whose they run.
        placement: Of the array.
        spatial: How faults lie.
        rate: Fault rate (base: per PE).
        chips: How many.
        size: Rows and columns of the array.
    """

    network: str
    placement: str
    spatial: str
    rate: float
    chips: int
    size: int = 64

    @property
    def name(self) -> str:
        """As figures call it."""
        return f"loss_{self.placement}_{self.spatial}_{round(100 * self.rate)}"


class Bench:
    """A network, its data, and what closed-form repair knows of it."""

    def __init__(self, network: str) -> None:
        data = cm.fashion_mnist()
        model = cm.trained("vgg11") if network == "vgg11" else networks.depthwise()
        task = cm.Task(model, train=data.train, validation=data.validation, test=data.test)
        self.task = task if network == "vgg11" else networks.trained(task, 4.0)
        self.calibration = Calibration(self.task, 0)
        self.clean = {
            split: scores(self.task.model, samples, self.task.metric)
            for split, samples in (("validation", self.task.validation), ("test", self.task.test))
        }

    def rows(self, point: Point) -> list[dict[str, Any]]:
        """What became of a point's chips under every recipe; test for the chosen one alone."""
        array = cm.Array(rows=point.size, cols=point.size, placement=point.placement)  # pyright: ignore[reportArgumentType]
        chips = cm.make_chips(
            array, rate=point.rate, count=point.chips, spatial=SPATIAL[point.spatial], seed=11
        )
        benches = [
            Workbench(
                self.task,
                array,
                chip.faults,
                chip=chip.id,
                seed=0,
                calibration=self.calibration,
            )
            for chip in chips
        ]
        seen = {
            name: [float(bench.validation(recipe).mean()) for bench in benches]
            for name, recipe in RECIPES.items()
        }
        chosen = max(seen, key=lambda name: statistics.mean(seen[name]))
        return [
            self._row(point, bench, chosen, {name: seen[name][place] for name in seen})
            for place, bench in enumerate(benches)
        ]

    def _row(
        self, point: Point, bench: Workbench, chosen: str, validation: dict[str, float]
    ) -> dict[str, Any]:
        clean, repaired = self.clean["test"], bench.test(RECIPES[chosen])
        baseline, pruned = bench.test(BASELINE), bench.test((cm.Prune(),))
        lost = int((baseline > repaired).sum())
        apart = int((baseline != repaired).sum())
        return {
            **vars(point),
            "recipe": chosen,
            "validation": validation,
            "clean": float(clean.mean()),
            "test": float(repaired.mean()),
            "pruned": float(pruned.mean()),
            "recalibrated": float(baseline.mean()),
            "worse_p_value": binomtest(lost, apart, alternative="greater").pvalue if apart else 1.0,
        }


def measured(points: Sequence[Point]) -> list[dict[str, Any]]:
    """The rows of some points of one network; in a worker process."""
    keep_freed_memory()
    with computing_with(1):
        bench = Bench(points[0].network)
        return [row for point in points for row in bench.rows(point)]


def points(*, quick: bool) -> list[Point]:
    """Everything that is measured."""
    chips = 2 if quick else 5
    rates = (50,) if quick else RATES
    kinds = [("im2col", "uniform")] if quick else itertools.product(("im2col", "channel"), SPATIAL)
    stress = [Point("vgg11", p, s, rate / 100, chips) for p, s in kinds for rate in rates]
    names = [] if quick else ["vgg11", "depthwise"]
    realistic = [Point(n, "im2col", "uniform", r, 10, 256) for n in names for r in REALISTIC]
    return stress + realistic


def shares(found: Sequence[Point], workers: int) -> list[list[Point]]:
    """Points by network, dealt out to workers."""
    by_network = [[p for p in found if p.network == name] for name in ("vgg11", "depthwise")]
    return [part for held in by_network for i in range(workers) if (part := held[i::workers])]


COSTS: dict[str, tuple[int, Recipe]] = {
    "one_shot_epochs_10": (10, RECIPES["one-shot"]),
    "one_shot_epochs_50": (50, RECIPES["one-shot"]),
    "sequential_epochs": (50, RECIPES["sequential"]),
    "remap_epochs": (50, (cm.Remap(), cm.Prune())),
}


def costs(*, quick: bool) -> Iterator[dict[str, Any]]:
    """Seconds of repairs as shares of an epoch, each beside a quarter of one."""
    bench = Bench("vgg11")
    array, task = cm.Array(rows=64, cols=64), bench.task
    chips = {rate: cm.make_chips(array, rate=rate / 100, count=4, seed=5) for rate in (10, 50)}
    for recipe in RECIPES.values():
        bench.calibration.bill(recipe)
    for number in range(1 if quick else 4):
        part = 0.02 if quick else 0.25
        training = Retraining(
            task.fresh_network(),
            {},
            task.train,
            loss=task.loss,
            settings=Retrain(),
            seed=number,
        )
        training.advance(part)
        epoch = training.seconds / training.epochs
        for name, (rate, recipe) in COSTS.items():
            chip = chips[rate][number]
            fresh = Workbench(
                task,
                array,
                chip.faults,
                chip=chip.id,
                seed=0,
                calibration=bench.calibration,
            )
            for length in range(1, len(recipe) + 1):
                fresh.network(recipe[:length])
            yield {
                "cost": name,
                "epoch_seconds": epoch,
                "share": fresh.spent(recipe).seconds / epoch,
            }


def resnet18(samples: int) -> dict[str, float]:
    """One-shot compensation of ResNet-18s beside an epoch; in a process of its own."""
    keep_freed_memory()
    with computing_with(1):
        generator = torch.Generator().manual_seed(0)
        pictures = torch.randn(samples, 3, 32, 32, generator=generator)
        split = pictures, torch.randint(0, 10, (samples,), generator=generator)
        task = cm.Task(cm.resnet18(), train=split, validation=split, test=split)
        array = cm.Array(rows=256, cols=256)
        known = Calibration(task, 0)
        form = cm.OneShot(samples=samples)
        started = time.perf_counter()
        known.layers(form)
        shared = time.perf_counter() - started
        recipe, seconds = (cm.Prune(), cm.Compensate(form=form)), []
        for chip in cm.make_chips(array, rate=0.1, count=5):
            bench = Workbench(task, array, chip.faults, chip=chip.id, seed=0, calibration=known)
            for length in (1, 2):
                bench.network(recipe[:length])
            seconds.append(bench.spent(recipe).seconds)
        training = Retraining(
            task.fresh_network(), {}, task.train, loss=task.loss, settings=Retrain(), seed=0
        )
        training.advance(2 * 128 / samples)
        before = training.seconds
        training.advance(5 * 128 / samples)
        epoch = (training.seconds - before) / (3 * 128) * 50_000
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {
            "seconds": statistics.median(seconds),
            "shared_seconds": shared,
            "epoch_seconds": epoch,
            "share": statistics.median(seconds) / epoch,
            "peak_gib": peak,
        }


def main() -> None:
    options = record.arguments(__doc__)
    workers = 2
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        wanted = shares(points(quick=options.quick), workers)
        rows = [row for part in pool.map(measured, wanted) for row in part]
    keep_freed_memory()  # as the workers of a campaign do
    with computing_with(1):
        beside = list(costs(quick=options.quick))
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        large = pool.submit(resnet18, 128 if options.quick else 2048).result()
    figures: dict[str, float | None] = {"clean": rows[0]["clean"]}
    for point in points(quick=False):
        losses = [100 * (r["clean"] - r["test"]) for r in rows if _is_of(r, point)]
        if point.size == 64:
            figures[point.name] = statistics.mean(losses) if losses else None
    for name in COSTS:
        figures[name] = statistics.median(r["share"] for r in beside if r["cost"] == name)
    gains = [r["test"] - r["recalibrated"] for r in rows]
    figures |= {
        "resnet18_one_shot_epochs": large["share"],
        "resnet18_peak_gib": large["peak_gib"],
        "least_mean_gain_over_recalibrated": min(_means(rows, gains)),
        "worse_share": float(np.mean([r["worse_p_value"] < 0.01 / len(rows) for r in rows])),
    }
    record.write("repair_quality", options, figures, [*rows, *beside, large])


def _is_of(row: dict[str, Any], point: Point) -> bool:
    return all(row[name] == value for name, value in vars(point).items() if name != "chips")


def _means(rows: Sequence[dict[str, Any]], values: Sequence[float]) -> list[float]:
    """Mean of the values of each point, in points of accuracy."""
    by_point: dict[tuple[Any, ...], list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        key = tuple(row[name] for name in ("network", "placement", "spatial", "rate"))
        by_point.setdefault(key, []).append(100 * value)
    return [statistics.mean(found) for found in by_point.values()]


if __name__ == "__main__":
    main()
