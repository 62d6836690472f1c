"""Wafers seen from above, as inline SVG: a square for every die, where it lay."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from chipmend.errors import LotError
from chipmend.fleet.facts import ChipFacts
from chipmend.fleet.ledger import Bin
from chipmend.fleet.outcome import Outcome
from chipmend.report.figures import Figure
from chipmend.report.svg import look_of, percent

CELL = 14
MOST = 12
"""Wafers that a report shows."""


@dataclass(frozen=True, slots=True)
class _Die:
    """A die as it is drawn."""

    x: int
    y: int
    label: str
    style: str


def placed(chips: Sequence[ChipFacts]) -> list[ChipFacts]:
    """The chips of which it is known where they lay."""
    return [chip for chip in chips if chip.x is not None and chip.y is not None]


def check_placed(chips: Sequence[ChipFacts]) -> None:
    """Refuse a view of wafers where nobody knows where dies lay.

    Raises:
        LotError: No chip has coordinates.
    """
    if not placed(chips):
        raise LotError(
            "no chip of the run has coordinates, so there is no wafer to show",
            hint="give x and y of the dies, and their wafer, in the CSV of faults or in Chip, and "
            "mend the lot again with 'since': chips whose faults are as they were cost nothing",
        )


def wafer_views(outcome: Outcome) -> dict[str, list[Figure]]:
    """Every wafer by fault rate, and by bin and by accuracy under each policy.

    Args:
        outcome: What a campaign came to.

    Returns:
        The views of each wafer by its name, of as many wafers as a report shows at most; none if no
        chip has coordinates.
    """
    wafers = _wafers(outcome.chips)
    return {name: _views(name, wafers[name], outcome) for name in list(wafers)[:MOST]}


def left_out(outcome: Outcome) -> str:
    """What of a lot its views do not show, in words; nothing where they show all of it."""
    wafers, count = _wafers(outcome.chips), len(outcome.chips)
    said = []
    if len(wafers) > MOST:
        said.append(f"The first {MOST} of {len(wafers)} wafers.")
    if unplaced := count - len(placed(outcome.chips)):
        said.append(f"Where {unplaced} of {count} chips lay is not known.")
    if hidden := len(placed(outcome.chips)) - sum(map(len, wafers.values())):
        said.append(f"{hidden} of {count} chips are said to lie where another does.")
    return " ".join(said)


def _wafers(chips: Sequence[ChipFacts]) -> dict[str, list[ChipFacts]]:
    """The chips of each wafer, by its name, one in each place that is told."""
    wafers: dict[str, dict[tuple[int, int], ChipFacts]] = {}
    for chip in placed(chips):
        told = {"lot": chip.lot, "wafer": chip.wafer}
        name = (
            ", ".join(f"{what} {which}" for what, which in told.items() if which)
            or "wafer without a name"
        )
        wafers.setdefault(name, {}).setdefault(_place(chip), chip)
    return {name: list(dies.values()) for name, dies in wafers.items()}


def _views(where: str, chips: Sequence[ChipFacts], outcome: Outcome) -> list[Figure]:
    views = [_by_rate(where, chips)]
    for policy in outcome.policies:
        views += [
            _by_bin(where, chips, policy, outcome),
            _by_accuracy(where, chips, policy, outcome),
        ]
    return views


def _by_rate(where: str, chips: Sequence[ChipFacts]) -> Figure:
    most = max(chip.fault_rate for chip in chips)
    dies = [
        _Die(
            *_place(chip),
            f"{chip.chip}: {percent(chip.fault_rate)} of PEs",
            _heat(chip.fault_rate, 0.0, most),
        )
        for chip in chips
    ]
    svg = _wafer(f"{where} by fault rate", dies)
    return Figure(svg, f"Fault rate, darkest {percent(most)} of PEs.")


def _by_bin(where: str, chips: Sequence[ChipFacts], policy: str, outcome: Outcome) -> Figure:
    bins = {record.chip: record.bin for record in outcome.records_of(policy)}
    looks = {bin_: look_of(place) for place, bin_ in enumerate(_COLOURS)}
    dies = [
        _Die(
            *_place(chip),
            f"{chip.chip}: {bins[chip.chip]}",
            f'class="die {looks[bins[chip.chip]]}"',
        )
        for chip in chips
    ]
    svg = _wafer(f"{policy}: {where} by bin", dies)
    seen = [bin_ for bin_ in _COLOURS if bin_ in {bins[chip.chip] for chip in chips}]
    key = tuple((looks[bin_], str(bin_)) for bin_ in seen)
    return Figure(svg, f"{policy}: bins.", key)


def _by_accuracy(where: str, chips: Sequence[ChipFacts], policy: str, outcome: Outcome) -> Figure:
    accuracies = {r.chip: r.accuracy for r in outcome.records_of(policy)}
    known = [a for chip in chips if (a := accuracies[chip.chip]) is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    dies = []
    for chip in chips:
        accuracy = accuracies[chip.chip]
        if accuracy is None:
            dies.append(_Die(*_place(chip), f"{chip.chip}: does not ship", 'class="die none"'))
        else:
            label = f"{chip.chip}: {percent(accuracy)}"
            dies.append(_Die(*_place(chip), label, _heat(accuracy, low, high)))
    svg = _wafer(f"{policy}: {where} by test accuracy", dies)
    return Figure(
        svg,
        f"{policy}: test accuracy, darkest {percent(high)}, palest {percent(low)}; "
        "outlined dies do not ship.",
    )


_COLOURS = (
    *(Bin.PRUNED, Bin.SCRAPPED, Bin.REPAIRED, Bin.UNREPAIRABLE, Bin.RETRAINED),
    *(Bin.FAILED, Bin.PATCHED, Bin.KEPT),
)
"""Bins in the order of the colours of series, so that neighbours differ well."""


def _place(chip: ChipFacts) -> tuple[int, int]:
    assert chip.x is not None
    assert chip.y is not None
    return chip.x, chip.y


def _heat(value: float, low: float, high: float) -> str:
    share = (value - low) / (high - low) if high > low else float(value > 0)
    return f'class="die heat" style="--heat:{share:.0%}"'


def _wafer(title: str, dies: Sequence[_Die]) -> str:
    """Dies on a disc, the first row at the bottom."""
    left, top = min(die.x for die in dies), max(die.y for die in dies)
    across = max(die.x for die in dies) - left + 1
    down = top - min(die.y for die in dies) + 1
    width, height = across * CELL, down * CELL
    corners = [
        ((die.x - left + right) * CELL - width / 2, (top - die.y + below) * CELL - height / 2)
        for die in dies
        for right in (0, 1)
        for below in (0, 1)
    ]
    radius = max(map(math.hypot, *zip(*corners, strict=True))) + CELL / 2
    box = f"{width / 2 - radius:.1f} {height / 2 - radius:.1f} {2 * radius:.1f} {2 * radius:.1f}"
    parts = [f'<circle class="wafer" cx="{width / 2}" cy="{height / 2}" r="{radius:.1f}"/>']
    for die in dies:
        x, y = (die.x - left) * CELL, (top - die.y) * CELL
        parts.append(
            f"<g><title>{escape(die.label)}</title><rect {die.style} "
            f'x="{x + 1}" y="{y + 1}" width="{CELL - 2}" height="{CELL - 2}"/></g>'
        )
    return (
        f'<svg class="chart" viewBox="{box}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
