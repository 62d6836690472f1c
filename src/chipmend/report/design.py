"""The report of a search for protection: one HTML file that opens offline."""

import json
from pathlib import Path
from typing import Any

from chipmend.files import write_bytes
from chipmend.hardware.array import Array
from chipmend.protect.design.evaluation import Evaluation
from chipmend.protect.study import DesignOutcome, Row, Study
from chipmend.records import plain
from chipmend.report.block_diagram import block_diagram
from chipmend.report.figures import Figure
from chipmend.report.heat import heat
from chipmend.report.svg import Axis, Chart, percent
from chipmend.report.templates import rendered
from chipmend.simulate.flips import BitErrors

ASSUMED = (
    "accumulators outside of the array, biases, scales and what requantizes are healthy",
    "votes are taken to be sound, and so is what loads weights and steers",
    "areas leave memories, requantization and wires out, which all designs have in common",
    "the dot-product unit finds memories free; what fetches its operands is not counted",
    "power is a proxy: transistors times the cycles in which they work",
    "the list of important neurons comes from outside with the weights",
)


def write_design_report(outcome: DesignOutcome, path: str | Path) -> Path:
    """Write a report, whole or not at all.

    Args:
        outcome: What a search came to.
        path: Where to write the page.

    Returns:
        The path.

    Raises:
        StoreError: The file cannot be written.
    """
    return write_bytes(Path(path), page(outcome).encode())


def page(outcome: DesignOutcome) -> str:
    """The report as HTML; the same text for the same outcome."""
    return rendered(
        "design.html.j2",
        {},
        outcome=outcome,
        verdicts=[_verdict(study, outcome) for study in outcome.studies],
        studies=[_study(study, outcome) for study in outcome.studies],
        maps=_maps(outcome),
        assumed=ASSUMED,
        plan=json.dumps(outcome.plan or plain(outcome.space), indent=2, default=str),
    )


def rate_in_words(errors: BitErrors) -> str:
    """How often bits flip, in words.

    Example:
        >>> rate_in_words(BitErrors(accumulator=2e-6, weights=1e-8))
        '2e-06 per accumulator bit, 1e-08 per weight bit'
    """
    names = {
        "accumulator": "accumulator",
        "product": "multiplier",
        "weights": "weight",
        "activations": "activation",
    }
    return ", ".join(
        f"{rate:g} per {names[field]} bit" for field, rate in plain(errors).items() if rate
    )


def bits_in_words(evaluation: Evaluation) -> str:
    """Which bits are protected in PEs."""
    first, last = evaluation.first, evaluation.last - 1
    return f"bit {first}" if first == last else f"bits {first} to {last}"


def design_in_words(evaluation: Evaluation, array: Array) -> str:
    """A design in a line: what it has that an array without protection has not.

    Args:
        evaluation: The design.
        array: That array.
    """
    design, words = evaluation.design, list[str]()
    if (design.rows, design.cols) != (array.rows, array.cols):
        words.append(f"{design.rows} x {design.cols} PEs")
    if design.accumulator_bits != array.accumulators.bits:
        words.append(f"sums of {design.accumulator_bits} bits")
    if design.sign_extension:
        words.append("signs extended")
    if design.ordinary_bits:
        words.append(f"{bits_in_words(evaluation)} in PEs")
    if design.lanes:
        words.append(
            f"{100 * design.important:g} % again on {design.lanes} lanes with "
            f"{design.important_bits} bits"
        )
    if design.shifts:
        words.append(f"{design.shifts} shift{'s' if design.shifts > 1 else ''}")
    if design.activation_range != 1:
        words.append(f"activations to {100 * design.activation_range:g} % of their range")
    if design.buffers != "bare":
        words.append({"parity": "parity", "ecc": "ECC"}[design.buffers])
    return ", ".join(words) or "nothing"


def _verdict(study: Study, outcome: DesignOutcome) -> str:
    if study.unmet:
        return f"{study.unmet[0].upper()}{study.unmet[1:]}."
    found, full = study.found, study.row("full TMR").evaluation.costs.overhead
    uniform = study.row("uniform top bits").evaluation
    said = (
        f"At {rate_in_words(study.errors)}, the smallest design found that meets all targets adds "
        f"{100 * found.evaluation.costs.overhead / full:.1f} % of what full TMR adds"
    )
    if uniform.meets and uniform.costs.overhead:
        share = found.evaluation.costs.overhead / uniform.costs.overhead
        said += f", and {100 * share:.0f} % of what the fewest uniformly protected bits add"
    if study.by != "search":
        said += f" (which is: {study.by})"
    if found.test is not None:
        said += (
            f"; on the test split accuracy falls by {100 * found.test.drop:.2f} points, and "
            f"{100 * outcome.targets.drop_under_faults:g} are allowed"
        )
    return said + "."


def _study(study: Study, outcome: DesignOutcome) -> dict[str, Any]:
    full = study.row("full TMR").evaluation.costs.overhead
    return {
        "title": rate_in_words(study.errors),
        "rows": [_row(row, full, outcome.array) for row in study.rows],
        "front": _front(study, outcome),
        "convergence": _convergence(study),
        "diagram": block_diagram(study.found, outcome.array),
        "found": study.found,
    }


def _row(row: Row, full: float, array: Array) -> dict[str, Any]:
    return {
        "row": row,
        "words": design_in_words(row.evaluation, array),
        "share": row.evaluation.costs.overhead / full,
        "costs": row.evaluation.costs,
    }


def _front(study: Study, outcome: DesignOutcome) -> Figure:
    """Area against the drop under faults of every design that was evaluated."""
    full = study.row("full TMR").evaluation.costs.overhead
    everything = [*study.searched, *(row.evaluation for row in study.rows)]
    points = list({e.design: e for e in everything if e.fall is not None}.values())
    allowed = outcome.targets.drop_under_faults
    top = 4 * allowed
    shares = [e.costs.overhead / full for e in points]
    chart = Chart(
        "area against the drop under faults",
        Axis("overhead area, of full TMR's", min([0.0, *shares]), max([1.05, *shares]), percent),
        Axis("drop under faults", min(0.0, -0.1 * top), top, percent),
    )
    chart.rule(allowed, f"allowed: {percent(allowed)}")
    for each in points:
        assert each.fall is not None
        at = (each.costs.overhead / full, each.fall.drop)
        words = design_in_words(each, outcome.array)
        label = f"{words}: {percent(at[0])} of full TMR, drop {percent(at[1])}"
        if each.meets:
            chart.dot(at, 2, label)
        else:
            chart.cross(at, label)
    best = _pareto([(e.costs.overhead / full, e.fall.drop) for e in points if e.fall])
    chart.line(best, 0, "no other design is better in both")
    return Figure(
        chart.svg(),
        "Every design that was evaluated, on validation; a cross misses a target, drops beyond the "
        "chart are drawn at its top. The line joins those that no other beats in both.",
    )


def _pareto(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that none beats in both, the smallest area first."""
    found, least = list[tuple[float, float]](), float("inf")
    for area, drop in sorted(points):
        if drop < least:
            least = drop
            found.append((area, drop))
    return found


def _convergence(study: Study) -> Figure:
    """The smallest design found so far, after every evaluation."""
    full = study.row("full TMR").evaluation.costs.overhead
    least, line = None, list[tuple[float, float]]()
    for number, each in enumerate(study.searched, 1):
        if each.meets and (least is None or each.costs.overhead < least):
            least = each.costs.overhead
        if least is not None:
            line.append((float(number), least / full))
    rules = {
        row.name: row.evaluation.costs.overhead / full
        for row in study.rows
        if row.name in ("uniform top bits", "search by chance") and row.evaluation.meets
    }
    heights = [*(at for _, at in line), *rules.values()]
    chart = Chart(
        "convergence of the search",
        Axis("evaluations", 0.0, float(len(study.searched) or 1)),
        Axis("smallest so far, of full TMR's", min([0.0, *heights]), max([0.1, *heights]), percent),
    )
    chart.line(line, 0, "search")
    for name, share in rules.items():
        chart.rule(share, f"{name}: {percent(share)}")
    return Figure(
        chart.svg(),
        "The smallest design found so far that meets all targets; rules: the fewest uniform bits, "
        "and the search by chance at its end.",
    )


def _maps(outcome: DesignOutcome) -> list[Figure]:
    rows = [layer.layer.removesuffix(".weight") for layer in outcome.maps]
    found = []
    for name, words in (
        ("important", "The most vulnerable twentieth of each layer's neurons"),
        ("ordinary", "All other neurons"),
    ):
        for suffix, how in (("", "estimated from gradients"), ("_injected", "by injection")):
            values = [getattr(layer, name + suffix) for layer in outcome.maps]
            if any(values):
                svg = heat(f"{words}, {how}", rows, values, [la.width for la in outcome.maps])
                found.append(
                    Figure(
                        svg,
                        f"{words}, {how}: mean change of a sample's loss if a bit of the "
                        "accumulator flips once, in powers of ten. Right of a tick no sum of the "
                        "layer has bits.",
                    )
                )
    return found
