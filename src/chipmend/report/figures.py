"""The figures of a report: those of the Reduce paper for this run, and bars over the policies.

References:
    [Hanif2023] Hanif, Shafique, "Reduce: a framework for reducing the overheads of fault-aware
        retraining", 2023: figures 2a, 2b, 3a-f.
"""

import itertools
import math
from dataclasses import dataclass

from chipmend.confidence.constraint import Accuracy
from chipmend.fleet.facts import ChipFacts
from chipmend.fleet.ledger import Bin, ChipRecord, PolicySum
from chipmend.fleet.outcome import Outcome
from chipmend.fleet.yields import yield_over_accuracy, yield_over_ee
from chipmend.report.svg import Axis, Chart, bars, look_of, percent
from chipmend.resilience.table import (
    Along,
    Point,
    ResilienceTable,
    accuracy_wanted,
    faulty_pes,
    stuck_bits,
)

_AXES: dict[Along, str] = {
    faulty_pes: "effective fault rate (per weight)",
    stuck_bits: "stuck bits (per bit)",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its caption and the key to its series.

    Args:
        svg: The chart.
        caption: What it shows.
        key: How each series looks, by the classes of its marks, and its name.
    """

    svg: str
    caption: str
    key: tuple[tuple[str, str], ...] = ()


def accuracy_over_amount(table: ResilienceTable, outcome: Outcome) -> Figure:
    """Figure 2a: mean validation accuracy against the amount of retraining, a line per rate."""
    bar = accuracy_wanted(outcome.constraint, table.clean_accuracy)
    means = {in_words(point): _means(table, point) for point in table.points}
    lowest = min(min(accuracies) for accuracies in means.values())
    highest = max(bar, table.clean_accuracy, *(max(accuracies) for accuracies in means.values()))
    chart = Chart(
        "accuracy against amount of retraining",
        Axis("epochs of retraining", 0.0, table.amounts[-1] or 1.0),
        _accuracy_axis("validation accuracy", min(lowest, bar), highest),
    )
    chart.rule(bar, f"constraint: {percent(bar)}")
    for place, (faults, accuracies) in enumerate(means.items()):
        points = list(zip(table.amounts, accuracies, strict=True))
        chart.line(points, place, faults)
        for amount, accuracy in points:
            label = f"{faults}, {amount:g} epochs: {percent(accuracy)}"
            chart.dot((amount, accuracy), place, label)
    caption = (
        "Accuracy against the amount of retraining, mean over repeats; the rule is the constraint."
    )
    if any(len(t.accuracies) < len(table.amounts) for t in table.trajectories):
        caption += " A repeat that surely met it was trained no further, and counts on as it was."
    return Figure(
        chart.svg(),
        caption,
        tuple((look_of(place), faults) for place, faults in enumerate(means)),
    )


def amount_over_rate(table: ResilienceTable, outcome: Outcome) -> Figure:
    """Figure 2b: the amount needed against the effective fault rate, min, mean and max."""
    low, mean, high = (
        table.needed_at_points(outcome.constraint, statistic)
        for statistic in ("min", "mean", "max")
    )
    along = faulty_pes if any(map(faulty_pes, table.trajectories)) else stuck_bits
    places = [sum(map(along, table.at(p))) / len(table.at(p)) for p in table.points]
    top = table.amounts[-1] or 1.0
    chart = Chart(
        "amount of retraining needed against fault rate",
        Axis(_AXES[along], 0.0, 1.1 * max(places) or 1.0, percent),
        Axis("epochs needed", 0.0, 1.1 * top),
    )
    for x, least, middle, most in zip(places, low, mean, high, strict=True):
        if math.isinf(most):
            chart.cross((x, 1.08 * top), f"{percent(x)}: not reached within {top:g} epochs")
        if math.isinf(least):
            continue
        label = f"{percent(x)}: {least:.3g} to {most:.3g}, mean {middle:.3g} epochs"
        chart.span(x, least, min(most, 1.08 * top), 0, label)
        if not math.isinf(middle):
            chart.dot((x, middle), 0, label)
    return Figure(
        chart.svg(),
        "Retraining needed to reach the constraint and stay there: mean with the range over "
        "repeats. A cross at the top: some repeat did not reach it.",
    )


def accuracy_of_chips(policy: str, outcome: Outcome) -> Figure:
    """Figure 3, upper row: test accuracy of each chip against its effective fault rate."""
    records = [r for r in outcome.records_of(policy) if r.accuracy is not None]
    shipped = [r.accuracy for r in outcome.records if r.accuracy is not None]
    bar = _bar_on_test(outcome)
    chart = Chart(
        f"{policy}: test accuracy against fault rate",
        _rate_axis(outcome),
        _accuracy_axis(
            "test accuracy",
            max(min([*shipped, bar]), bar - 0.08),
            max([*shipped, bar, outcome.clean_accuracy]),
        ),
    )
    chart.rule(bar, f"constraint: {percent(bar)}")
    for record in records:
        assert record.accuracy is not None
        point = (_rate(record, outcome), record.accuracy)
        label = f"{record.chip}: {percent(point[0])} faulty, {percent(record.accuracy)}"
        if record.met:
            chart.dot(point, 2, f"{label}, met")
        else:
            chart.cross(point, f"{label}, missed")
    return Figure(chart.svg(), f"{policy}: test accuracy of each chip that ships.")


def amount_of_chips(policy: str, outcome: Outcome) -> Figure | None:
    """Figure 3, lower row: retraining of each chip against its effective fault rate.

    There is none of a policy that retrained no chip.
    """
    if not any(record.epochs for record in outcome.records_of(policy)):
        return None
    top = max((record.epochs for record in outcome.records), default=0.0) or 1.0
    chart = Chart(
        f"{policy}: retraining against fault rate",
        _rate_axis(outcome),
        Axis("epochs of retraining", 0.0, 1.05 * top),
    )
    for record in outcome.records_of(policy):
        if record.bin == Bin.UNREPAIRABLE:
            continue
        rate = _rate(record, outcome)
        label = f"{record.chip}: {percent(rate)} faulty, {record.epochs:.3g} epochs"
        chart.dot((rate, record.epochs), 0, label)
    return Figure(
        chart.svg(), f"{policy}: amount of retraining of each chip, unrepairable ones left out."
    )


def met_bars(sums: list[PolicySum]) -> Figure:
    """Chips that ship and meet the constraint, by policy."""
    rows = [(s.policy, float(s.met), f"{s.met} of {s.chips}") for s in sums]
    svg = bars("chips that meet the constraint", rows, max((s.chips for s in sums), default=1))
    return Figure(svg, "Chips that ship and meet the constraint on the test split.")


def cost_bars(sums: list[PolicySum]) -> Figure:
    """Total cost with what chips share, by policy."""
    totals = [(s.policy, s.ee + s.ee_analysis + s.ee_shared) for s in sums]
    rows = [(policy, total, f"{total:.3g} EE") for policy, total in totals]
    svg = bars("total cost", rows, max((total for _, total in totals), default=1.0))
    return Figure(svg, "Total cost for this lot in epoch-equivalents, what chips share included.")


def yield_of_accuracy(outcome: Outcome) -> Figure:
    """Share of the chips that ship, against how accurate their networks have to be."""
    curves = {name: yield_over_accuracy(outcome.records_of(name)) for name in outcome.policies}
    bar = _bar_on_test(outcome)
    known = [accuracy for curve in curves.values() for accuracy, _ in curve]
    chart = Chart(
        "share of the chips that ship against test accuracy",
        _accuracy_axis(
            "test accuracy, at least", max(min([*known, bar]), bar - 0.08), max([*known, bar])
        ),
        Axis("chips that ship", 0.0, 1.0, percent),
    )
    for place, (name, curve) in enumerate(curves.items()):
        steps = [(chart.x.low, curve[0][1]), *curve] if curve else []
        chart.line(_stairs(steps, rising=False), place, name)
    caption = "Yield: share of all chips that ship with a network of some test accuracy or more."
    return Figure(chart.svg(), caption, _key_of(outcome))


def yield_of_cost(outcome: Outcome) -> Figure:
    """Share of the chips that ship and meet the constraint, against what each may cost."""
    curves = {name: yield_over_ee(outcome.records_of(name)) for name in outcome.policies}
    most = max((ee for curve in curves.values() for ee, _ in curve), default=0.0) or 1.0
    chart = Chart(
        "share of the chips that meet the constraint against cost",
        Axis("epoch-equivalents per chip, at most", 0.0, 1.05 * most),
        Axis("chips that meet the constraint", 0.0, 1.0, percent),
    )
    for place, (name, curve) in enumerate(curves.items()):
        steps = [(0.0, 0.0), *curve, (1.05 * most, curve[-1][1])] if curve else []
        chart.line(_stairs(steps, rising=True), place, name)
    caption = (
        "Yield: share of all chips that ship and meet the constraint on the test split at some "
        "cost or less, without what chips share."
    )
    return Figure(chart.svg(), caption, _key_of(outcome))


def _key_of(outcome: Outcome) -> tuple[tuple[str, str], ...]:
    return tuple((look_of(place), name) for place, name in enumerate(outcome.policies))


def _stairs(points: list[tuple[float, float]], *, rising: bool) -> list[tuple[float, float]]:
    """A step at each point: what is reached there holds from it on, or up to it."""
    found = points[:1]
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        found += [(to_x, y) if rising else (x, to_y), (to_x, to_y)]
    return found


def in_words(point: Point) -> str:
    """What fault maps are drawn at.

    Example:
        >>> in_words(Point(0.1)), in_words(Point(0.0, 0.04))
        ('10 % of PEs', '4 % of bits')
        >>> in_words(Point(0.1, 0.04))
        '10 % of PEs, 4 % of bits'
    """
    pes, bits = (
        [f"{percent(rate)} of {what}"] if rate else []
        for what, rate in (("PEs", point.rate), ("bits", point.bit_rate))
    )
    return ", ".join([*pes, *bits])


def _means(table: ResilienceTable, point: Point) -> list[float]:
    """Mean accuracy at each amount; a repeat that ended before it stays as it was."""
    repeats = table.at(point)
    return [
        sum(t.accuracies[min(stop, len(t.accuracies) - 1)] for t in repeats) / len(repeats)
        for stop in range(len(table.amounts))
    ]


def _accuracy_axis(label: str, low: float, high: float) -> Axis:
    room = 0.06 * max(high - low, 0.01)
    return Axis(label, max(0.0, low - room), min(1.0, high + room), percent)


def _has_faulty_pes(outcome: Outcome) -> bool:
    return any(chip.effective_rate for chip in outcome.chips)


def _rate(chip: ChipRecord | ChipFacts, outcome: Outcome) -> float:
    """By what chips are told apart: faulty PEs, or stuck bits where no chip has faulty PEs."""
    return chip.effective_rate if _has_faulty_pes(outcome) else chip.effective_bit_rate


def _rate_axis(outcome: Outcome) -> Axis:
    high = max((_rate(chip, outcome) for chip in outcome.chips if not chip.fatal), default=0.0)
    along = faulty_pes if _has_faulty_pes(outcome) or not high else stuck_bits
    return Axis(_AXES[along], 0.0, 1.05 * high or 1.0, percent)


def _bar_on_test(outcome: Outcome) -> float:
    constraint = outcome.constraint
    if isinstance(constraint, Accuracy):
        return constraint.accuracy
    return outcome.clean_accuracy - constraint.drop
