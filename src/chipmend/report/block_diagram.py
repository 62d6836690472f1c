"""The design that was found as a block diagram, with its numbers."""

from html import escape

from chipmend.hardware.array import Array
from chipmend.protect.study import Row

WIDTH, HEIGHT = 720, 300


def block_diagram(row: Row, array: Array) -> str:
    """Draw a design.

    Args:
        row: The design, and what it comes to.
        array: The array of the plan.

    Returns:
        The drawing, as inline SVG.
    """
    parts = [*_memories(row), _elements(row), *_ends(row), *_unit(row)]
    label = escape(f"block diagram of the design found on {array.rows} x {array.cols} PEs")
    return (
        f'<svg class="diagram" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        '<defs><marker id="head" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" '
        'markerHeight="6" orient="auto"><path class="head" d="M0 0l6 3-6 3z"/></marker></defs>'
        f"{''.join(parts)}</svg>"
    )


def _memories(row: Row) -> list[str]:
    """Weights and activations, and how they reach the array."""
    coded = {"bare": "bare", "parity": "with parity", "ecc": "with ECC"}
    words = coded[row.evaluation.design.buffers]
    return [
        _box(20, 90, 130, 60, "weights", words, dashed=True),
        _box(20, 180, 130, 60, "activations", words, dashed=True),
        _path("M150 115L220 115"),
        _path("M150 205H185V165H220"),
    ]


def _elements(row: Row) -> str:
    """The array of PEs."""
    found, design = row.evaluation, row.evaluation.design
    bits = (
        f"bits from {found.first} up to {found.last - 1} of {design.accumulator_bits} threefold"
        if design.ordinary_bits
        else f"{design.accumulator_bits} bits, none protected"
    )
    title, area = f"{design.rows} x {design.cols} PEs", f"{_million(found.costs.area.array, 2)}"
    return _box(220, 60, 230, 130, title, bits, area, protected=design.ordinary_bits > 0)


def _ends(row: Row) -> list[str]:
    """What is below the columns."""
    found, design = row.evaluation, row.evaluation.design
    shifts = f"by {design.shifts} shift{'s' if design.shifts > 1 else ''}"
    parts, bottom = [], 190
    if design.sign_extension:
        area = _million(found.costs.area.ends, 3)
        parts += [
            _box(220, 205, 230, 44, "signs extended at column ends", area, protected=True),
            _path("M335 190L335 205"),
        ]
        bottom = 249
    words = shifts if design.shifts else "by factors"
    if design.activation_range != 1:
        words += f", to {100 * design.activation_range:g} % of range"
    return [
        *parts,
        _path(f"M335 {bottom}V276H520"),
        _box(520, 246, 180, 44, "sums outside, requantize", words, dashed=True),
    ]


def _unit(row: Row) -> list[str]:
    """The dot-product unit, if there is one."""
    found, design = row.evaluation, row.evaluation.design
    if not design.lanes:
        return []
    lines = (
        f"{design.lanes} lanes, {design.important_bits} bits threefold",
        f"{100 * design.important:g} % of the work again",
        f"{100 * found.costs.load:.1f} % of the time at work",
        _million(found.costs.area.unit, 3),
    )
    return [
        _box(520, 60, 180, 130, "dot-product unit", *lines, protected=True),
        _path("M185 205V30H610V60"),
        _path("M610 190L610 246"),
    ]


def _million(transistors: float, digits: int) -> str:
    return f"{transistors / 1e6:.{digits}f} million transistors"


def _box(
    x: int,
    y: int,
    width: int,
    height: int,
    title: str,
    *lines: str,
    protected: bool = False,
    dashed: bool = False,
) -> str:
    kind = "protected" if protected else "outside" if dashed else "plain"
    middle = x + width / 2
    first = y + height / 2 - 7.5 * len(lines) + 4
    words = [f'<text class="title" x="{middle}" y="{first}">{escape(title)}</text>']
    words += [
        f'<text x="{middle}" y="{first + 15 * number}">{escape(line)}</text>'
        for number, line in enumerate(lines, 1)
    ]
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
        f"{''.join(words)}"
    )


def _path(d: str) -> str:
    return f'<path class="flow" d="{d}" marker-end="url(#head)"/>'
