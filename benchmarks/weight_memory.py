"""What int8 networks are left with on chips whose weight memory has stuck bits, and what it costs.

Accuracy: the five networks of the zoo on Fashion-MNIST, chips with 4 % of the bits stuck, half of
them at 0 (base: per bit), VGG11 with 8 and 16 % too; no gradient step anywhere. Of the recipes that
compensate one is chosen for all chips of a point by their mean validation accuracy, and only that
one is read on test. ``int8_loss_*`` are points below the float network; ``loss_*`` points below the
int8 network of a chip without faults; ``faq_gain_*`` points of FAQ above storing nearest codes.

Cost: FAQ of a full-width ResNet-18's codes, in turn with copying the bytes that it must touch, and
compensated FAQ, as shares of an epoch of training on the same core.

Export: predictions of repaired networks as ONNX under onnxruntime beside our own.
"""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
import record
import torch

import chipmend as cm
from chipmend.faults import FaultMap, StuckBits
from chipmend.faults.stuck_at import stuck_bits
from chipmend.network import gemms, scores
from chipmend.network.processor import computing_with, keep_freed_memory
from chipmend.network.samples import batches
from chipmend.repairs import Retraining, Workbench
from chipmend.repairs.calibration import Calibration
from chipmend.steps import Recipe
from chipmend.zoo import NETWORKS

NAIVE: Recipe = (cm.Prune(), cm.Quantize(form=cm.Naive()))
FAQ: Recipe = (cm.Prune(), cm.Quantize(form=cm.FAQ()))
COMPENSATED: Recipe = (cm.Prune(), cm.Quantize(), cm.Recalibrate())
COMPENSATING: dict[str, Recipe] = {
    "compensated": COMPENSATED,
    "faulty first": (
        cm.Prune(),
        cm.Quantize(form=cm.CompensatedFAQ(faulty_first=True)),
        cm.Recalibrate(),
    ),
    "sequential": (cm.Prune(), cm.Quantize(form=cm.SequentialFAQ())),
}
SHARE = 0.4
"""Of the validation split, to choose by."""
ROUNDS = 9
PUBLISHED = {"resnet18": 76.38, "vgg11": 70.47}
"""FAQ over no mitigation on CIFAR-10 at a rate of 0.04, in points [Hanif2023]."""


@dataclass(frozen=True)
class Point:
    """Chips of one kind.

    Args:
        network: Whose they run.
        rate: Share of stuck bits (base: per bit).
        chips: How many.
    """

    network: str
    rate: float
    chips: int


class Bench:
    """A network, its data, and what repair knows of it."""

    def __init__(self, network: str) -> None:
        data = cm.fashion_mnist()
        self.network = network
        self.task = cm.Task(
            cm.trained(network), train=data.train, validation=data.validation, test=data.test
        )
        self.calibration = Calibration(self.task, 0)
        self.words = sum(gemm.weight.numel() for gemm in gemms(self.task.model))

    def on(self, chip: str, stuck: StuckBits | None) -> Workbench:
        """The bench of one chip."""
        return Workbench(
            self.task,
            cm.Array(rows=64, cols=64),
            FaultMap.of_pes(np.zeros((64, 64), bool), stuck=stuck),
            chip=chip,
            seed=0,
            calibration=self.calibration,
        )

    @cached_property
    def sound(self) -> dict[str, float]:
        """Test accuracies of the float network, and of int8 on a chip without faults."""
        clean = scores(self.task.model, self.task.test, self.task.metric)
        return {
            "float": float(clean.mean()),
            "int8": float(self.on("sound", None).test(FAQ).mean()),
        }

    def rows(self, point: Point) -> list[dict[str, Any]]:
        """What became of a point's chips; test for the compensating recipe chosen alone."""
        memory, drawn = cm.WeightMemory(words=self.words), cm.StuckAt(rate=point.rate)
        benches = {
            chip: self.on(chip, stuck_bits(memory, drawn, seed=11, chip=chip))
            for chip in (f"c{number}" for number in range(point.chips))
        }
        seen = {
            name: [float(bench.validation(recipe, SHARE).mean()) for bench in benches.values()]
            for name, recipe in COMPENSATING.items()
        }
        chosen = max(seen, key=lambda name: statistics.mean(seen[name]))
        found = []
        for place, (chip, bench) in enumerate(benches.items()):
            row = {**vars(point), **self.sound, "chip": chip, "recipe": chosen}
            row["validation"] = {name: seen[name][place] for name in seen}
            for name, recipe in (("naive", NAIVE), ("faq", FAQ)):
                row[name] = float(bench.test(recipe).mean())
            row["compensated"] = float(bench.test(COMPENSATING[chosen]).mean())
            row["onnx_agreement"] = None if place else self._agreement(bench, COMPENSATING[chosen])
            found.append(row)
        return found

    def _agreement(self, bench: Workbench, recipe: Recipe) -> float:
        """Share of test predictions that onnxruntime makes as we do."""
        network = bench.ships(recipe)
        with tempfile.TemporaryDirectory() as folder:
            path = cm.write_onnx(network, Path(folder) / "chip.onnx")  # pyright: ignore[reportArgumentType]
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(path, options)
        same = []
        for inputs, _ in batches(self.task.test, 250):
            theirs = np.asarray(session.run(["output"], {"input": inputs.numpy()})[0])
            with torch.inference_mode():
                same.append(theirs.argmax(1) == network(inputs).argmax(1).numpy())
        return float(np.concatenate(same).mean())


def measured(points: Sequence[Point]) -> list[dict[str, Any]]:
    """The rows of some points of one network; in a worker process."""
    keep_freed_memory()
    with computing_with(1):
        bench = Bench(points[0].network)
        return [row for point in points for row in bench.rows(point)]


def points(*, quick: bool) -> list[list[Point]]:
    """Everything that is measured, by network, the slowest first."""
    names = ["alexnet"] if quick else ["mobilenet_v2", "resnet18", "vgg11", "vgg16", "alexnet"]
    chips = 1 if quick else 5
    rates = {name: [0.04, *([0.08, 0.16] if name == "vgg11" else [])] for name in names}
    return [[Point(name, rate, chips) for rate in rates[name]] for name in names]


def seconds_of(work: Callable[[], object]) -> float:
    """How long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def conversion(words: int) -> dict[str, float]:
    """FAQ of a memory of codes beside copies of the bytes that it must touch, in turn."""
    stuck = stuck_bits(cm.WeightMemory(words=words), cm.StuckAt(rate=0.04), seed=0, chip="a")
    codes = np.random.default_rng(0).integers(0, 256, words, dtype=np.uint8)
    at = stuck.at.astype(np.int32)

    def copies() -> tuple[np.ndarray, ...]:
        return codes.copy(), at.copy(), stuck.ones.copy(), stuck.zeros.copy()

    cm.converted_codes(codes, stuck)
    ratios, seconds = [], []
    for _ in range(ROUNDS):
        copied = min(seconds_of(copies) for _ in range(3))
        seconds.append(min(seconds_of(lambda: cm.converted_codes(codes, stuck)) for _ in range(3)))
        ratios.append(seconds[-1] / copied)
    return {"over_copy": statistics.median(ratios), "faq_seconds": statistics.median(seconds)}


def epoch_of(task: cm.Task, steps: int, samples: int) -> float:
    """Seconds of an epoch over so many samples, estimated from some of its steps."""
    training = Retraining(
        task.fresh_network(), {}, task.train, loss=task.loss, settings=cm.Retrain(), seed=0
    )
    share = 128 / len(task.train)
    training.advance(2 * share)
    before = training.seconds
    training.advance((2 + steps) * share)
    return (training.seconds - before) / (steps * 128) * samples


def costs_of(task: cm.Task, *, steps: int, samples: int, chips: int) -> dict[str, float]:
    """Seconds of compensated FAQ, and of an epoch."""
    known = Calibration(task, 0)
    words = sum(gemm.weight.numel() for gemm in gemms(task.model))
    seconds = []
    for number in range(chips):
        stuck = stuck_bits(
            cm.WeightMemory(words=words), cm.StuckAt(rate=0.04), seed=1, chip=str(number)
        )
        bench = Workbench(
            task,
            cm.Array(rows=64, cols=64),
            FaultMap.of_pes(np.zeros((64, 64), bool), stuck=stuck),
            chip=str(number),
            seed=0,
            calibration=known,
        )
        for length in range(1, len(COMPENSATED) + 1):
            bench.network(COMPENSATED[:length])
        recipes = COMPENSATED[:2], COMPENSATED
        seconds.append([bench.spent(recipe).seconds for recipe in recipes])
    alone, corrected = np.median(seconds, axis=0).tolist()
    return {
        "seconds": alone,
        "seconds_with_recalibrate": corrected,
        "epoch_seconds": epoch_of(task, steps, samples),
        "words": words,
    }


def costs(network: str, *, quick: bool) -> dict[str, Any]:
    """What quantization of a network takes; in a process of its own."""
    keep_freed_memory()
    with computing_with(1):
        if network == "vgg11":
            task = Bench("vgg11").task
            found = costs_of(task, steps=20, samples=len(task.train), chips=1 if quick else 5)
        else:
            pictures = torch.randn(2048, 3, 32, 32, generator=torch.Generator().manual_seed(0))
            split = pictures, torch.arange(2048) % 10
            task = cm.Task(cm.resnet18(), train=split, validation=split, test=split)
            found = costs_of(task, steps=3, samples=50_000, chips=1 if quick else 3)
            found |= conversion(int(found["words"]))
        return {"cost": network, **found}


def main() -> None:
    options = record.arguments(__doc__)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        rows = [row for part in pool.map(measured, points(quick=options.quick)) for row in part]
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        small, large = (
            pool.submit(costs, network, quick=options.quick).result()
            for network in ("vgg11", "resnet18")
        )
    figures = {
        **accuracy_figures(rows),
        "faq_over_copy": large["over_copy"],
        "faq_epochs": large["faq_seconds"] / large["epoch_seconds"],
        **{
            f"compensated_{part}epochs{suffix}": found[seconds] / found["epoch_seconds"]
            for suffix, found in (("", small), ("_resnet18", large))
            for part, seconds in (("", "seconds"), ("recalibrated_", "seconds_with_recalibrate"))
        },
        "onnx_agreement": min(r["onnx_agreement"] for r in rows if r["onnx_agreement"]),
    }
    record.write("weight_memory", options, figures, [*rows, small, large])


def accuracy_figures(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Means over the chips of each point, in points of accuracy."""

    def mean(network: str, rate: float, above: str, below: str) -> float | None:
        found = [
            100 * (r[above] - r[below])
            for r in rows
            if (r["network"], r["rate"]) == (network, rate)
        ]
        return statistics.mean(found) if found else None

    figures = {f"int8_loss_{name}": mean(name, 0.04, "float", "int8") for name in NETWORKS}
    for percent in (4, 8, 16):
        figures[f"loss_stuck_{percent}"] = mean("vgg11", percent / 100, "int8", "compensated")
    for name in NETWORKS:
        for way in ("faq", "compensated"):
            figures[f"loss_{way}_4_{name}"] = mean(name, 0.04, "int8", way)
        figures[f"faq_gain_{name}"] = mean(name, 0.04, "faq", "naive")
        figures[f"faq_gain_published_{name}"] = PUBLISHED.get(name)
    return figures


if __name__ == "__main__":
    main()
