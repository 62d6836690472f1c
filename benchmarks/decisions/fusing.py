"""eFAT: how much retraining fusing saves where chips share dead lines or clusters, and elsewhere.

Chips of a reticle share a defect: two dead columns, a dead row and a column, or a cluster of a
twentieth or a tenth of the PEs; each has single broken PEs of its own beside. What is planned for
lots of a hundred is compared, and a small lot is really mended.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import chipmend as cm
import decisions.coverage as coverage
from chipmend.policy.fusing import groups_of, union_rates
from chipmend.resilience import ResilienceTable
from decisions.bench import KINDS, LENIENT, Bench, Row, row_of

OF_LOT, RETICLES, LOTS = 100, 10, 10
OWN = (0.002, 0.01)
"""Fault rates of chips' own, beside what they share."""
MENDED, MENDED_RETICLES = 16, 3
MANY, LARGE = 1000, 256


def defect(kind: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """What chips of one reticle share."""
    shared = np.zeros((size, size), bool)
    if kind == "two columns":
        shared[:, rng.choice(size, 2, replace=False)] = True
    elif kind == "row and column":
        shared[rng.integers(size)] = shared[:, rng.integers(size)] = True
    else:
        side = round(size * CLUSTERS[kind] ** 0.5)
        row, col = rng.integers(size - side, size=2)
        shared[row : row + side, col : col + side] = True
    return shared


CLUSTERS = {"cluster of 5 %": 0.05, "cluster of 10 %": 0.1}
"""Share of all PEs in them."""
SHARED = ("two columns", "row and column", *CLUSTERS)


def sharing(array: cm.Array, kind: str, *, count: int, reticles: int, seed: int) -> list[cm.Chip]:
    """A lot whose chips share what their reticle has."""
    rng = np.random.default_rng([seed, SHARED.index(kind)])
    shared = [defect(kind, rng, array.rows) for _ in range(reticles)]
    own = cm.make_chips(array, rate=OWN, count=count, seed=seed)
    return [
        replace(chip, faults=cm.FaultMap.of_pes(chip.faults.unusable | shared[at % reticles]))
        for at, chip in enumerate(own)
    ]


def planned(bench: Bench, table: ResilienceTable, chips: Sequence[cm.Chip]) -> Row:
    """Epochs that Reduce and eFAT plan for a lot; those that neither ships count for neither."""
    dies = bench.dies(chips)
    alone, fused = (p.plan(dies, LENIENT, table) for p in (cm.Reduce(), cm.EFat()))
    epochs = [sum(g.epochs for g in each if np.isfinite(g.epochs)) for each in (alone, fused)]
    return {
        "reduce": float(epochs[0]),
        "efat": float(epochs[1]),
        "over": float(epochs[1] / epochs[0]) if epochs[0] else 1.0,
        "groups": len(fused),
    }


def plans(bench: Bench) -> list[Row]:
    """Plans for lots that share defects, and for lots that do not."""
    rows, table = [], coverage.reduce_table(bench, "uniform")
    for seed in range(bench.chips(LOTS)):
        for kind in SHARED:
            lot = sharing(bench.array, kind, count=OF_LOT, reticles=RETICLES, seed=seed)
            rows.append({"lot": kind, "shares": True, **planned(bench, table, lot)})
        for kind, spatial in KINDS.items():
            lot = cm.make_chips(
                bench.array, rate=(0.02, 0.25), count=OF_LOT, spatial=spatial, seed=seed
            )
            rows.append({"lot": kind, "shares": False, **planned(bench, table, lot)})
    return [{"part": "plans of eFAT", **row} for row in rows]


def mended(bench: Bench) -> list[Row]:
    """A small lot that shares columns, mended; and how it is to be read."""
    lot = sharing(
        bench.array,
        "two columns",
        count=bench.chips(MENDED),
        reticles=MENDED_RETICLES,
        seed=100,
    )
    learning = cm.Cascade(amounts=(0.0, 0.1), label="Cascade, learning")
    fused = replace(learning, fuse=True, label="Cascade, fused")
    policies = [cm.Reduce(), cm.EFat(), learning, fused]
    outcome = bench.mended("fused lot", lot, policies, constraint=LENIENT)
    return [row_of("fused lot", s) for s in outcome.sums()]


def pairs() -> Row:
    """Seconds for the damage of all pairs of a thousand chips, and for merging them."""
    array = cm.Array(rows=LARGE, cols=LARGE)
    lot = sharing(array, "two columns", count=MANY, reticles=RETICLES * 10, seed=0)
    faulty = np.stack([chip.faults.unusable.ravel() for chip in lot])
    weights = np.full(array.rows * array.cols, 170, np.int64)
    started = time.perf_counter()
    union_rates(faulty, weights)
    of_pairs = time.perf_counter() - started
    started = time.perf_counter()
    found = groups_of(faulty, weights, lambda rates: 10 * rates)
    return {
        "part": "pairs",
        "chips": MANY,
        "pes": LARGE**2,
        "pair_seconds": of_pairs,
        "merging_seconds": time.perf_counter() - started,
        "groups": len(found),
    }
