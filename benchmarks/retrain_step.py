"""What holding the pruned weights at zero adds to a training step.

The same network is trained in turn with and without pruned weights, on the same batches, now one
first and now the other; the figure is the median over rounds of the ratio of the two.
"""

import statistics

import record
import torch

import chipmend as cm
from chipmend.network.processor import computing_with, keep_freed_memory
from chipmend.repairs import Retraining, pruned_weights
from chipmend.steps import Retrain


def trajectory(task: cm.Task, rate: float) -> Retraining:
    """A trajectory at a fault rate, its first steps done."""
    array = cm.Array(rows=64, cols=64)
    chip = cm.make_chips(array, rate=rate, count=1)[0]
    pruned = pruned_weights(task.model, chip.faults.unusable, array) if rate else {}
    training = Retraining(
        task.fresh_network(), pruned, task.train, loss=task.loss, settings=Retrain(), seed=0
    )
    training.advance(4 * 128 / len(task.train))
    return training


def timed(training: Retraining, steps: int, samples: int) -> float:
    """Seconds per step over some steps."""
    began, seconds = training.steps, training.seconds
    training.advance((began + steps) * 128 / samples)
    assert training.steps == began + steps
    return (training.seconds - seconds) / steps


def main() -> None:
    options = record.arguments(__doc__)
    rounds, steps = (8, 4) if options.quick else (40, 8)
    keep_freed_memory()
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(4096, 1, 32, 32, generator=generator)
    classes = torch.randint(0, 10, (4096,), generator=generator)
    split = (pictures, classes)
    task = cm.Task(cm.trained("vgg11"), train=split, validation=split, test=split)
    with computing_with(1):
        plain, masked = trajectory(task, 0.0), trajectory(task, 0.3)
        rows = []
        pair = {"plain_seconds": plain, "masked_seconds": masked}
        for number in range(rounds):
            order = sorted(pair, reverse=number % 2 == 0)
            rows.append({name: timed(pair[name], steps, 4096) for name in order})
    medians = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    ratio = statistics.median(row["masked_seconds"] / row["plain_seconds"] for row in rows)
    record.write("retrain_step", options, {"masked_over_plain": ratio, **medians}, rows)


if __name__ == "__main__":
    main()
