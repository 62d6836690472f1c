"""How much faster a campaign is when workers and threads are arranged for the machine.

chipmend measures training steps and chooses an arrangement. Then the same campaign, Fixed on a few
chips, runs in turn under every arrangement, in rounds, so that a drift of the machine's speed falls
on all alike. Figures are ratios of the medians over rounds of the time that a call of ``mend``
takes, the start of worker processes included: of one process with one thread, and of one with all
threads, over the arrangement that was chosen.
"""

import statistics
import time

import record
import torch

import chipmend as cm
from chipmend.fleet.arrangement import Arrangement, candidates, cores, fastest
from chipmend.fleet.progress import Unwatched
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
        cm.trained("vgg11"),
        train=splits.train.batch(torch.arange(samples)),
        validation=splits.validation.batch(torch.arange(1000)),
        test=splits.test.batch(torch.arange(1000)),
    )
    chips = cm.make_chips(cm.Array(rows=64, cols=64), rate=(0.1, 0.5), count=count)
    chosen = fastest(task, cm.Retrain(), Unwatched())
    one = Arrangement(workers=1, threads=1)
    arrangements = [one, *(a for a in candidates(cores()) if a != one)]
    rows = [
        {f"{a.workers}x{a.threads}": seconds_of(task, chips, a, 1.0) for a in arrangements}
        for _ in range(rounds)
    ]
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    best = f"{chosen.workers}x{chosen.threads}"
    figures = {
        "speedup_2_workers": medians["1x1"] / medians[best],
        "best_over_one_process": medians[f"1x{cores()}"] / medians[best],
        "workers_chosen": chosen.workers,
        "threads_chosen": chosen.threads,
        **{f"seconds_{name}": value for name, value in medians.items()},
    }
    record.write("campaign", options, figures, rows)


if __name__ == "__main__":
    main()
