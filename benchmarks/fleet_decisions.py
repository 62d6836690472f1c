"""Decisions about fleets: coverage that is promised, shifts, eFAT, incomplete maps, re-mending.

``coverage_error_max`` is the largest difference, in points, of promised and measured coverage on
chips like those that were calibrated on, the mean over a hundred draws of 200 chips to calibrate on
and 200 to test. ``shift_found_share`` and ``shift_false_share`` say how often the shift check fires
on lots of 100 chips, shifted ones and others. ``efat_over_reduce_max`` is all of eFAT's retraining
over Reduce-max's, on lots whose chips share defects, ``efat_over_reduce_worst_kind`` that of the
kind of defect that gains least, ``efat_over_reduce_elsewhere_max`` that of the worst other lot.
``hidden_met_share`` is the share of shipped chips that meet the constraint with a tenth of the
faults hidden, under a margin that hardens the network. ``remend_over_mend`` is the cost after 1 %
of the PEs broke, the worse of two lots, and ``remend_met_share`` how many of their chips meet it
then.

The JSON has every part as soon as it is measured. Campaigns are kept beside it, and go on where
they were; ``--only`` measures one part anew.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import record
from decisions import again, coverage, fusing, screening
from decisions.bench import Bench, Row


def _coverage_error(rows: Sequence[Row]) -> float | None:
    promised = [
        row for row in rows if row["promised"] and row["tested_on"] == "uniform" and row["draws"]
    ]
    return max((100 * abs(row["measured"] - row["promised"]) for row in promised), default=None)


def _found(rows: Sequence[Row]) -> float:
    return _fired([row for row in rows if row["lots_of"] != "uniform"])


def _false(rows: Sequence[Row]) -> float:
    return _fired([row for row in rows if row["lots_of"] == "uniform"])


def _fired(rows: Sequence[Row]) -> float:
    return sum(row["fired"] for row in rows) / sum(row["lots"] for row in rows)


def _over_reduce(plans: Sequence[Row]) -> float:
    plans = [row for row in plans if row["shares"]]
    ours, theirs = (sum(row[policy] for row in plans) for policy in ("efat", "reduce"))
    return ours / theirs if theirs else 1.0


def _over_reduce_worst(plans: Sequence[Row]) -> float:
    kinds = {row["lot"] for row in plans if row["shares"]}
    return max(_over_reduce([row for row in plans if row["lot"] == kind]) for kind in kinds)


def _over_reduce_elsewhere(plans: Sequence[Row]) -> float:
    return max(row["over"] for row in plans if not row["shares"])


def _met_in_spite(rows: Sequence[Row]) -> float | None:
    row = next(row for row in rows if row["hidden"] == screening.WANTED and row["hardened"])
    return row["met"] / row["shipped"] if row["shipped"] else None


def _again_over_anew(rows: Sequence[Row]) -> float:
    spent = {(row["lot"], row["when"]): row["ee_per_chip"] for row in rows}
    return max(spent[lot, "again"] / spent[lot, "anew"] for lot, when in spent if when == "anew")


def _met_again(rows: Sequence[Row]) -> float:
    again = [row for row in rows if row["when"] == "again"]
    return sum(row["met"] for row in again) / sum(row["chips"] for row in again)


FIGURES: dict[str, tuple[str, Callable[[Sequence[Row]], float | None]]] = {
    "coverage_error_max": ("coverage", _coverage_error),
    "shift_found_share": ("shift check", _found),
    "shift_false_share": ("shift check", _false),
    "efat_over_reduce_max": ("plans of eFAT", _over_reduce),
    "efat_over_reduce_worst_kind": ("plans of eFAT", _over_reduce_worst),
    "efat_over_reduce_elsewhere_max": ("plans of eFAT", _over_reduce_elsewhere),
    "pair_seconds_1000": ("pairs", lambda rows: rows[0]["pair_seconds"]),
    "hidden_met_share": ("incomplete maps", _met_in_spite),
    "remend_over_mend": ("mended again", _again_over_anew),
    "remend_met_share": ("mended again", _met_again),
}
"""The numbers that claims rest on, each with the part that it is of."""


def figures_of(rows: Sequence[Row]) -> dict[str, float | None]:
    """The figures; none of parts that are yet to be measured."""
    by_part: dict[str, list[Row]] = {}
    for row in rows:
        by_part.setdefault(row["part"], []).append(row)
    return {
        name: figure(by_part[part]) if part in by_part else None
        for name, (part, figure) in FIGURES.items()
    }


PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "pairs": lambda _: [fusing.pairs()],
    "shift check": coverage.alarms,
    "coverage": coverage.rows,
    "fresh lot": coverage.really,
    "plans of eFAT": fusing.plans,
    "fused lot": fusing.mended,
    "mended again": again.rows,
    "incomplete maps": screening.rows,
}


def main() -> None:
    options = record.arguments(__doc__, parts=[*PARTS])
    folder: Path = options.json.with_suffix(".runs")
    bench, rows = Bench(folder, options.quick), record.kept(options)
    for part in [options.only] if options.only else PARTS:
        rows += PARTS[part](bench)
        record.write("fleet_decisions", options, figures_of(rows), rows)


if __name__ == "__main__":
    main()
