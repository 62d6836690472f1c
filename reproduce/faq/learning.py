"""Learning curves of training with faults: from nearest codes (FAT), and from readable ones.

    python reproduce/faq/learning.py

Test accuracy of one chip after each amount of training, read to report and for nothing else. The
weights behind the codes are trained at a constant rate, and averaged, so every amount means the
same alone.
"""

import time
from typing import Any

from lab import Lab, measured

import chipmend as cm
from chipmend.steps import Recipe

AMOUNTS = (0.0, 0.25, 0.5, 1.0, 2.0)
STARTS: dict[str, Recipe] = {
    "FAT": (cm.Prune(), cm.Quantize(form=cm.Naive())),
    "FAQ + FAT": (cm.Prune(), cm.Quantize(form=cm.FAQ())),
    "compensated FAQ + FAT": (cm.Prune(), cm.Quantize(), cm.Recalibrate()),
}
EPOCHS = {"mobilenet_v2": 0.25, "resnet18": 1.0, "vgg16": 1.0}
"""What is too slow to train for longer here; otherwise as ``AMOUNTS`` say."""


def measure(lab: Lab, job: dict[str, Any]) -> dict[str, Any]:
    """Accuracy along one trajectory, seconds of the conversion, and of an epoch."""
    bench, recipe, found = lab.bench(job["rate"], 0), STARTS[job["start"]], []
    for length in range(1, len(recipe) + 1):
        bench.network(recipe[:length])
    conversion = bench.spent(recipe).seconds
    started = time.perf_counter()
    for amount in AMOUNTS:
        if amount > EPOCHS.get(job["network"], AMOUNTS[-1]):
            break
        if amount:
            done = found[-1]["epochs"] if found else 0.0
            recipe = (*recipe, cm.Retrain(epochs=amount - done))
            bench.network(recipe)
        found.append({"epochs": amount, "test": float(bench.test(recipe).mean())})
    return {
        "curve": found,
        "conversion_seconds": conversion,
        "seconds": time.perf_counter() - started,
    }


def main() -> None:
    jobs = [
        {"network": network, "rate": rate, "start": start}
        for network, rates in (
            ("mobilenet_v2", (0.04,)),
            ("resnet18", (0.04, 0.16)),
            ("vgg16", (0.04, 0.16)),
            ("vgg11", (0.04, 0.16)),
            ("alexnet", (0.04, 0.16)),
        )
        for rate in rates
        for start in STARTS
    ]
    for row in measured("learning", jobs, measure):
        job = row["job"]
        said = "  ".join(f"{p['epochs']:g}: {100 * p['test']:.2f}" for p in row["curve"])
        print(f"{job['network']:12} {100 * job['rate']:4.0f} %  {job['start']:22} {said}")


if __name__ == "__main__":
    main()
