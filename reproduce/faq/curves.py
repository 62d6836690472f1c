"""Accuracy against the rate of stuck bits: naive, FAQ and compensated FAQ, without training.

    python reproduce/faq/curves.py

Test accuracy is read to report; of the recipes that compensate one is chosen for each network and
rate by mean validation accuracy.
"""

import statistics
from typing import Any

from lab import NETWORKS, Lab, measured

import chipmend as cm
from chipmend.steps import Recipe

RATES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
CHIPS = 3
SHARE = 0.4
PLAIN: dict[str, Recipe] = {
    "naive": (cm.Prune(), cm.Quantize(form=cm.Naive())),
    "faq": (cm.Prune(), cm.Quantize(form=cm.FAQ())),
}
COMPENSATING: dict[str, Recipe] = {
    "one-shot": (cm.Prune(), cm.Quantize(), cm.Recalibrate()),
    "sequential": (cm.Prune(), cm.Quantize(form=cm.SequentialFAQ())),
}


def measure(lab: Lab, job: dict[str, Any]) -> dict[str, Any]:
    """Test accuracies of some chips under every recipe, and what each took."""
    benches = [lab.bench(job["rate"], chip) for chip in range(CHIPS if job["rate"] else 1)]
    found: dict[str, Any] = {}
    for name, recipe in PLAIN.items():
        found[name] = [float(bench.test(recipe).mean()) for bench in benches]
    seen = {
        name: statistics.mean(float(bench.validation(recipe, SHARE).mean()) for bench in benches)
        for name, recipe in COMPENSATING.items()
    }
    chosen = max(seen, key=lambda name: seen[name])
    found["compensated"] = [float(bench.test(COMPENSATING[chosen]).mean()) for bench in benches]
    return {"chosen": chosen, "validation": seen, **found}


def main() -> None:
    jobs = [{"network": name, "rate": rate} for name in NETWORKS for rate in (0.0, *RATES)]
    for row in measured("curves", jobs, measure):
        job = row["job"]
        said = "  ".join(
            f"{way} {100 * statistics.mean(row[way]):.2f}" for way in (*PLAIN, "compensated")
        )
        print(f"{job['network']:12} {100 * job['rate']:5.1f} %  {said}  ({row['chosen']})")


if __name__ == "__main__":
    main()
