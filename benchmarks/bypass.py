"""What bypass and spares leave of chips with faulty PEs, without a change of the network.

Lots of chips with one array are drawn at several fault rates (base: per PE). Of each lot, as
fractions: what is left when rows or columns are deleted, and when both are mixed, of the throughput
of quarter-width VGG11, one sample at a time, and of the PEs, which is the throughput of products
much larger than the array; and the share of chips that one spare per region covers, with its exact
95 % interval. Figures are means over the chips.
"""

import itertools
import statistics
from typing import Any

import record
import torch

import chipmend as cm
from chipmend.faults import Spatial

ARRAY = cm.Array(rows=256, cols=256)
RATES = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5)
SPATIAL: tuple[Spatial, ...] = (cm.Uniform(), cm.Clustered(), cm.Lines())
SPARES = {
    "8x8": cm.RegionalSpares(rows=8, cols=8),
    "16x16": cm.RegionalSpares(rows=16, cols=16),
    "row": cm.RegionalSpares(rows=1, cols=ARRAY.cols),
}


def main() -> None:
    options = record.arguments(__doc__)
    model = cm.vgg11(channels=1, width=0.25)
    throughput = cm.Throughput(ARRAY, cm.gemm_sizes(model, torch.zeros(1, 1, 32, 32)))
    count = 20 if options.quick else 200
    rows: list[dict[str, Any]] = []
    figures: dict[str, float] = {"chips_per_lot": count}
    for spatial, rate in itertools.product(SPATIAL, RATES):
        chips = cm.make_chips(ARRAY, rate=rate, count=count, spatial=spatial)
        found = measured(chips, throughput)
        rows.append({"spatial": spatial.kind, "rate_per_pe": rate, **found})
        means = {name: part["mean"] for name, part in found.items()}
        figures.update({f"{name}_{spatial.kind}_{rate:g}": mean for name, mean in means.items()})
    record.write("bypass", options, figures, rows)


def measured(chips: cm.Lot, throughput: cm.Throughput) -> dict[str, dict[str, float]]:
    """Everything about one lot."""
    found = {"rate": spread(chips.rates.tolist())}
    for name, worth in {"throughput": throughput, "pes": cm.PeShare(ARRAY)}.items():
        straight = [cm.bypass_rows_or_cols(chip.faults, worth).share for chip in chips]
        mixed = [cm.bypass_mixed(chip.faults, worth).share for chip in chips]
        found |= {f"{name}_rows_or_cols": spread(straight), f"{name}_mixed": spread(mixed)}
    for name, spares in SPARES.items():
        covered = cm.spares_cover(chips, spares)
        ends = {"low": covered.low, "high": covered.high}
        found[f"covered_{name}"] = {"mean": covered.share, "chips": covered.covered, **ends}
    return found


def spread(shares: list[float]) -> dict[str, float]:
    """Mean and extremes."""
    return {"mean": statistics.fmean(shares), "min": min(shares), "max": max(shares)}


if __name__ == "__main__":
    main()
