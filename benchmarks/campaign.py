"""How much faster a campaign is when workers and threads are arranged for the machine.

The same campaign, Fixed on a few chips, runs in turn under every arrangement, in rounds, so that a
drift of the machine's speed falls on all alike. Figures are ratios of the medians over rounds, of
the time in which jobs were worked on, the start of worker processes included.
"""

import statistics
import time

import record
import torch

import chipmend as cm
from chipmend.fleet.arrangement import Arrangement, candidates, cores
from chipmend.network.processor import keep_freed_memory


def seconds_of(task: cm.Task, chips: cm.Lot, arrangement: Arrangement, epochs: float) -> float:
    """Wall-clock seconds of a campaign."""
    started = time.perf_counter()
    cm.mend(
        task,
        chips,
        array=cm.Array(rows=64, cols=64),
        constraint=cm.Drop(0.5),
        policies=[cm.Fixed(epochs=epochs)],
        hindsight=False,
        workers=arrangement.workers,
        threads=arrangement.threads,
    )
    return time.perf_counter() - started


def main() -> None:
    options = record.arguments(__doc__)
    rounds, count, samples = (1, 4, 4096) if options.quick else (5, 8, 16384)
    keep_freed_memory()
    splits = cm.fashion_mnist()
    task = cm.Task(
        cm.trained_vgg11(),
        train=splits.train.batch(torch.arange(samples)),
        validation=splits.validation.batch(torch.arange(1000)),
        test=splits.test.batch(torch.arange(1000)),
    )
    chips = cm.make_chips(cm.Array(rows=64, cols=64), rate=(0.1, 0.5), count=count)
    one = Arrangement(workers=1, threads=1)
    arrangements = [one, *(a for a in candidates(cores()) if a != one)]
    rows = [
        {f"{a.workers}x{a.threads}": seconds_of(task, chips, a, 1.0) for a in arrangements}
        for _ in range(rounds)
    ]
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    best = min(medians, key=lambda name: medians[name])
    figures = {
        "speedup_2_workers": medians["1x1"] / medians[best],
        "best_over_one_process": medians[f"1x{cores()}"] / medians[best],
        **{f"seconds_{name}": value for name, value in medians.items()},
    }
    record.write("campaign", options, figures, rows)


if __name__ == "__main__":
    main()
