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
    found, design = row.evaluation, row.evaluation.design
    area, million = found.costs.area, 1e6
    bits = (
        f"bits from {found.first} up to {found.last - 1} of {design.accumulator_bits} threefold"
        if design.ordinary_bits
        else f"{design.accumulator_bits} bits, none protected"
    )
    parts = [
        _box(20, 90, 130, 60, "weights", _coded(design.buffers), dashed=True),
        _box(20, 180, 130, 60, "activations", _coded(design.buffers), dashed=True),
        _box(
            220,
            60,
            230,
            130,
            f"{design.rows} x {design.cols} PEs",
            bits,
            f"{area.array / million:.2f} million transistors",
            protected=design.ordinary_bits > 0,
        ),
        _arrow(150, 115, 220, 115),
        _path("M150 205H185V165H220"),
    ]
    bottom = 190
    if design.sign_extension:
        parts.append(
            _box(
                220,
                205,
                230,
                44,
                "signs extended at column ends",
                f"{area.ends / million:.3f} million transistors",
                protected=True,
            )
        )
        parts.append(_arrow(335, 190, 335, 205))
        bottom = 249
    parts += [
        _path(f"M335 {bottom}V276H520"),
        _box(520, 246, 180, 44, "sums outside, requantize", _shifts(design.shifts), dashed=True),
    ]
    if design.lanes:
        parts += [
            _box(
                520,
                60,
                180,
                130,
                "dot-product unit",
                f"{design.lanes} lanes, {design.important_bits} bits threefold",
                f"{100 * design.important:g} % of the work again",
                f"{100 * found.costs.load:.1f} % of the time at work",
                f"{area.unit / million:.3f} million transistors",
                protected=True,
            ),
            _path("M185 205V30H610V60"),
            _arrow(610, 190, 610, 246),
        ]
    label = escape(f"block diagram of the design found on {array.rows} x {array.cols} PEs")
    return (
        f'<svg class="diagram" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        '<defs><marker id="head" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" '
        'markerHeight="6" orient="auto"><path class="head" d="M0 0l6 3-6 3z"/></marker></defs>'
        f"{''.join(parts)}</svg>"
    )


def _coded(buffers: str) -> str:
    return {"bare": "bare", "parity": "with parity", "ecc": "with ECC"}[buffers]


def _shifts(count: int) -> str:
    return f"by {count} shift{'s' if count > 1 else ''}" if count else "by factors"


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


def _arrow(x: int, y: int, to_x: int, to_y: int) -> str:
    return _path(f"M{x} {y}L{to_x} {to_y}")


def _path(d: str) -> str:
    return f'<path class="flow" d="{d}" marker-end="url(#head)"/>'
