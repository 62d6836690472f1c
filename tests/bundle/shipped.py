"""Chips of every kind, repaired, and the bundles that ship to them."""

from dataclasses import dataclass, replace

import chipmend as cm
from chipmend.bundle import Expected, write_base, write_bundle
from chipmend.bundle.making import base_of, repair_for
from chipmend.network import accuracy, gemms, scores
from chipmend.repairs import Workbench
from chipmend.repairs.calibration import Calibration
from conftest import tiny_task

QUANTIZE = cm.Quantize(form=cm.FAQ(), samples=64)
RECIPES = {
    "faq": (cm.Prune(), QUANTIZE),
    "remapped": (cm.Remap(), cm.Prune(), QUANTIZE, cm.Recalibrate(form=cm.Match(samples=64))),
    "compensated": (
        cm.Prune(),
        cm.Quantize(form=cm.CompensatedFAQ(moments=cm.OneShot(samples=128)), samples=64),
    ),
    "retrained": (
        cm.Prune(),
        QUANTIZE,
        cm.Retrain(epochs=0.5, batch=32, recalibrate=cm.Reestimate(samples=64)),
    ),
    "live": (cm.Prune(), QUANTIZE),
    "float": (cm.Prune(), cm.Recalibrate(form=cm.Match(samples=64))),
    "pruned": (cm.Prune(),),
}


@dataclass(frozen=True)
class Shipped:
    """A chip, its bench, and its bundle."""

    chip: cm.Chip
    bench: Workbench
    recipe: tuple
    base: object
    base_path: object
    base_digest: str
    bundle: object
    repair: object


def array_of(task):
    words = sum(gemm.weight.numel() for gemm in gemms(task.model))
    return cm.Array(
        rows=6,
        cols=5,
        memory=cm.WeightMemory(words=words),
        accumulators=cm.Accumulators(bits=24),
    )


def chip_for(name, array):
    stuck = None if name in ("float", "pruned", "live") else cm.StuckAt(rate=0.05)
    macs = cm.MacsAt(count=3, bits=(15, 18), at_1=1) if name == "live" else None
    made = cm.make_chips(array, rate=0.15, count=1, stuck=stuck, macs=macs, seed=3)[0]
    return replace(made, id=f"chip/{name}", lot="L1", wafer="W2", x=-1, y=4)


def shipped(name, folder, task=None, key=None):
    """The bundle of one chip, in a folder."""
    task = task or tiny_task()
    array = array_of(task)
    chip, recipe, known = chip_for(name, array), RECIPES[name], Calibration(task)
    bench = Workbench(task, array, chip.faults, chip=chip.id, seed=0, calibration=known)
    for length in range(1, len(recipe) + 1):
        bench.carry_out(recipe[:length])
    base = base_of(known, array, recipe)
    repair = repair_for(bench, recipe, chip)
    base_path, digest = write_base(base, folder)
    expected = Expected(accuracy=float(bench.test(recipe).mean()), samples=len(task.test))
    bundle = write_bundle(
        folder / f"bundle-{name}",
        repair,
        base,
        base_digest=digest,
        chip=chip,
        plan="0" * 64,
        steps=recipe,
        expected=expected,
        key=key,
    )
    return Shipped(chip, bench, recipe, base, base_path, digest, bundle, repair)


def score_of(network, task):
    return float(scores(network, task.test, accuracy).mean())
