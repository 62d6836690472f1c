"""Which rungs of a cascade pay: what ladders would have cost on the chips of ``repair_quality``.

A chip climbs until a rung's validation accuracy meets the constraint; where none does it is
retrained. Repairs cost what ``repair_quality`` measured. Nothing is repaired anew: run that first.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import chipmend as cm
from chipmend.network import scores

RESULT = Path(__file__).parent / "results" / "repair_quality.json"
LADDERS: dict[str, tuple[str, ...]] = {
    "as the cascade": ("one-shot", "remap + one-shot", "remap + sequential"),
    "recalibrate first": ("recalibrate", "one-shot", "remap + one-shot", "remap + sequential"),
    "sequential third": ("one-shot", "remap + one-shot", "sequential", "remap + sequential"),
    "sequential second": ("one-shot", "sequential", "remap + sequential"),
    "without one-shot": ("remap + one-shot", "remap + sequential"),
    "without remap + one-shot": ("one-shot", "remap + sequential"),
    "the best alone": ("remap + sequential",),
}
DROPS = (0.01, 0.018)
MOST = 0.5
"""Fault rate up to which chips are counted."""
LOOK = 0.008
"""EE of looking at a rung: a quarter of the validation split, as the cascade does on average."""
RETRAINED = 0.31
"""EE of retraining: a fifth of an epoch with a teacher, the norms, and the looks."""


def cost(ladder: Sequence[str], rate: float, figures: Mapping[str, float]) -> float:
    """EE of climbing a ladder to its end; a mapping once made serves all rungs above."""
    at_10, at_50 = figures["one_shot_epochs_10"], figures["one_shot_epochs_50"]
    of_each = {
        "recalibrate": 512 / (3 * 55_000),
        "one-shot": float(np.interp(rate, (0.1, 0.5), (at_10, at_50))),
        "sequential": figures["sequential_epochs"],
    }
    repairs = sum(of_each[rung.removeprefix("remap + ")] for rung in ladder)
    remapped = any(rung.startswith("remap") for rung in ladder)
    return repairs + remapped * figures["remap_epochs"] + LOOK * len(ladder)


def climbed(ladder: Sequence[str], validation: Mapping[str, float], bar: float) -> int | None:
    """How many rungs a chip climbs until one meets the bar; none if none does."""
    return next((n for n, rung in enumerate(ladder, 1) if validation[rung] >= bar), None)


def spent(
    ladder: Sequence[str], row: Mapping[str, Any], bar: float, figures: Mapping[str, float]
) -> float:
    """EE that a chip spends under a ladder."""
    rungs = climbed(ladder, row["validation"], bar)
    return cost(ladder[:rungs], row["rate"], figures) + (RETRAINED if rungs is None else 0.0)


def main() -> None:
    result = json.loads(RESULT.read_text())
    chips = [r for r in result["rows"] if r.get("size") == 64 and r["rate"] <= MOST]
    clean = float(scores(cm.trained("vgg11"), cm.fashion_mnist().validation, cm.accuracy).mean())
    kinds = {"all": chips} | {
        f"{row['placement']}, {row['spatial']}": [
            r for r in chips if all(r[k] == row[k] for k in ("placement", "spatial"))
        ]
        for row in chips
    }
    for drop in DROPS:
        for kind, held in kinds.items():
            print(f"\nEE per chip within {100 * drop:g} points, {kind}, {len(held)} chips")
            for name, ladder in LADDERS.items():
                each = [spent(ladder, row, clean - drop, result["figures"]) for row in held]
                left = [climbed(ladder, row["validation"], clean - drop) for row in held]
                print(f"{name:26} {statistics.mean(each):.4f}, {left.count(None)} retrained")


if __name__ == "__main__":
    main()
