"""The report: one HTML file about a campaign that opens offline, in light and in dark."""

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from chipmend.faults.picture import COLOURS
from chipmend.files import write_bytes
from chipmend.fleet.ledger import FLEETS, MEANINGS, SHIPPED, Bin, ChipRecord, PolicySum
from chipmend.fleet.outcome import Outcome
from chipmend.report import figures
from chipmend.report.templates import rendered
from chipmend.report.wafers import left_out, wafer_views
from chipmend.report.wording import in_words, mended_again

ASSUMED_HEALTHY = (
    "biases",
    "scales",
    "norm and activation units",
    "activation and partial-sum buffers (ECC)",
    "weight shadow registers",
)
ROWS_SHOWN = 500
"""Rows of the chip table that are shown at a time."""


def write_report(outcome: Outcome, path: str | Path) -> Path:
    """Write a report, whole or not at all.

    Args:
        outcome: What a campaign came to.
        path: Where to write the page.

    Returns:
        The path.

    Raises:
        StoreError: The file cannot be written.
    """
    return write_bytes(Path(path), page(outcome).encode())


def page(outcome: Outcome) -> str:
    """The report as HTML; the same text for the same outcome."""
    sums = outcome.sums()
    return rendered(
        "report.html.j2",
        {"accuracy": _accuracy, "number": _number},
        outcome=outcome,
        sums=sums,
        ways=[way for name in outcome.policies for way in _ways(outcome, name)],
        ledgers=[_ledger(outcome, s) for s in sums],
        verdict=_verdict(outcome, sums),
        again=mended_again(outcome),
        missed=_missed(outcome),
        bins=[bin_ for bin_ in Bin if any(s.bins.get(bin_) for s in sums)],
        meanings=MEANINGS,
        colours={name: f"rgb{rgb}" for name, rgb in COLOURS.items() if name != "healthy"},
        fleets=FLEETS,
        analysis=_analysis_figures(outcome),
        analysis_ee=sum(table.ee for table in dict.fromkeys(outcome.tables.values())),
        analysed_for=[p for p, table in outcome.tables.items() if table == outcome.table],
        policies=[
            (name, figures.accuracy_of_chips(name, outcome), figures.amount_of_chips(name, outcome))
            for name in outcome.policies
        ],
        bars=[figures.met_bars(sums), figures.cost_bars(sums)],
        yields=[figures.yield_of_accuracy(outcome), figures.yield_of_cost(outcome)],
        wafers=wafer_views(outcome),
        off_wafers=left_out(outcome),
        **_bundles(outcome),
        rows=_for_script([_row(record) for record in outcome.records]),
        rows_shown=ROWS_SHOWN,
        healthy=[*ASSUMED_HEALTHY, *outcome.assumed_healthy],
        plan=json.dumps(outcome.plan or outcome.policies, indent=2, sort_keys=True, default=str),
    )


def _analysis_figures(outcome: Outcome) -> list[figures.Figure]:
    if outcome.table is None:
        return []
    return [
        figures.accuracy_over_amount(outcome.table, outcome),
        figures.amount_over_rate(outcome.table, outcome),
    ]


def _verdict(outcome: Outcome, sums: list[PolicySum]) -> str:
    """The run in a sentence or two: who meets the constraint most often, and cheapest."""
    chips = len(outcome.chips)
    if not any(s.met for s in sums):
        return (
            f"No policy gives any of the {chips} chips a network that meets '{outcome.constraint}'."
        )
    best = max(sums, key=lambda s: (s.met, -s.ee_per_chip_of(chips)))
    good = "all of them" if best.met == best.shipped else f"{best.met} of them"
    said = (
        f"Of {chips} chips, {best.shipped} ship under {best.policy}, {good} with a network that "
        f"meets '{outcome.constraint}', at {best.ee_per_chip_of(chips):.3f} epoch-equivalents per "
        f"chip{_for_what_is_shared(best, outcome)}."
    )
    if len(sums) == 1:
        return said
    others = [s for s in sums if s.met == best.met and s is not best]
    if not others:
        return f"{said} Every other policy meets it on fewer chips."
    priced = "; ".join(
        f"{s.policy} at {s.ee_per_chip_of(chips):.3f}{_for_what_is_shared(s, outcome)}"
        for s in others
    )
    return f"{said} On as many, at no lower cost: {priced}."


def _missed(outcome: Outcome) -> tuple[float, float] | None:
    """Share of PEs that are broken and were not told, the mean over chips and the most."""
    known = [chip.missed_rate for chip in outcome.chips if chip.missed_rate is not None]
    return (sum(known) / len(known), max(known)) if known else None


def _for_what_is_shared(s: PolicySum, outcome: Outcome) -> str:
    """How much of what a chip cost is its share of what all chips share."""
    chips, hardening = len(outcome.chips), outcome.hardening.ee
    shared = {
        "analysis": s.ee_analysis,
        "hardening": hardening,
        "calibration, clean scores": s.ee_shared - hardening,
    }
    what = ", ".join(name for name, ee in shared.items() if ee)
    if not what:
        return ""
    return f" ({s.ee_per_chip_of(chips) - s.ee_per_chip:.3f} of them for {what})"


def _ledger(outcome: Outcome, s: PolicySum) -> dict[str, Any]:
    records = outcome.records_of(s.policy)

    def per_chip(kind: str) -> float:
        return sum(getattr(r.cost, kind) / r.shared_by for r in records) / s.chips

    return {
        "policy": s.policy,
        "retrain": per_chip("retrain"),
        "recalibrate": per_chip("recalibrate"),
        "algebra": per_chip("algebra"),
        "measure": per_chip("measure"),
        "per_chip": s.ee_per_chip,
        "analysis": s.ee_analysis,
        "shared": s.ee_shared,
        "spread": [s.ee_per_chip_of(fleet) for fleet in FLEETS],
        "overspent": s.ee_overspent_per_chip,
        "seconds": s.seconds / s.chips,
    }


def _ways(outcome: Outcome, policy: str) -> list[dict[str, Any]]:
    """What a policy did, by kind, the most frequent first."""
    by_words: dict[str, list[ChipRecord]] = {}
    for record in outcome.records_of(policy):
        if record.bin in SHIPPED:
            by_words.setdefault(in_words(record.steps), []).append(record)
    return [
        {
            "policy": policy,
            "words": words,
            "chips": len(held),
            "met": sum(r.met for r in held),
            "accuracy": sum(r.accuracy or 0.0 for r in held) / len(held),
            "least_rate": min(r.fault_rate for r in held),
            "most_rate": max(r.fault_rate for r in held),
            "ee": sum(r.ee for r in held) / len(held),
            "seconds": sum(r.cost.seconds / r.shared_by for r in held) / len(held),
        }
        for words, held in sorted(by_words.items(), key=lambda item: -len(item[1]))
    ]


def _bundles(outcome: Outcome) -> dict[str, Any]:
    """What ships, and what came of those that were verified."""
    bundles = [record.bundle for record in outcome.records if record.bundle is not None]
    full = sum(bundle.full for bundle in bundles)
    return {
        "bundles": bundles,
        "bundles_share": sum(bundle.bytes for bundle in bundles) / full if full else 0.0,
        "verified": [bundle.verified for bundle in bundles if bundle.verified is not None],
    }


def _row(record: ChipRecord) -> list[Any]:
    return [
        record.policy,
        record.chip,
        str(record.bin),
        record.fault_rate,
        record.effective_rate,
        record.effective_bit_rate,
        record.epochs,
        record.ee,
        record.accuracy,
        "yes" if record.met else "no",
        in_words(record.steps),
        record.reason,
    ]


def _for_script(rows: list[list[Any]]) -> Markup:
    """JSON that can stand in a script element, whatever chips are called."""
    text = json.dumps(rows, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704  escaped just now


def _accuracy(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
