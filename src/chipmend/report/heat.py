"""Heat maps as inline SVG: rows of numbers over many powers of ten, a cell for each."""

import math
from collections.abc import Sequence
from html import escape

CELL_WIDTH, CELL_HEIGHT, NAMES, FOOT = 11, 14, 118, 30
DECADES = 7
"""Powers of ten from the darkest cell down to an empty one."""


def heat(
    title: str,
    rows: Sequence[str],
    values: Sequence[Sequence[float]],
    ticks: Sequence[int] = (),
) -> str:
    """A heat map whose columns are bits, the lowest first.

    Args:
        title: What it shows, for those who cannot see it.
        rows: Names of the rows.
        values: The numbers of each, not negative.
        ticks: In each row a place between two cells that is marked.

    Returns:
        The map.
    """
    most = max((value for row in values for value in row), default=0.0)
    width = NAMES + CELL_WIDTH * max(map(len, values), default=0) + 8
    height = CELL_HEIGHT * len(rows) + FOOT
    parts = []
    for place, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = place * CELL_HEIGHT
        shown = name if len(name) <= 19 else f"…{name[-18:]}"
        parts.append(f'<text class="name" x="{NAMES - 6}" y="{y + 11}">{escape(shown)}</text>')
        for bit, value in enumerate(row):
            label = f"{name}, bit {bit}: {value:.2g}"
            parts.append(
                f"<g><title>{escape(label)}</title>"
                f'<rect class="heat" x="{NAMES + bit * CELL_WIDTH}" y="{y}" '
                f'width="{CELL_WIDTH - 1}" height="{CELL_HEIGHT - 1}" '
                f'style="--heat:{_share(value, most):.0%}"/></g>'
            )
        if place < len(ticks):
            x = NAMES + ticks[place] * CELL_WIDTH - 0.5
            parts.append(f'<path class="tick-mark" d="M{x} {y}v{CELL_HEIGHT - 1}"/>')
    bits = range(0, max(map(len, values), default=0), 4)
    parts += [
        f'<text class="tick" x="{NAMES + (bit + 0.5) * CELL_WIDTH}" '
        f'y="{CELL_HEIGHT * len(rows) + 12}">{bit}</text>'
        for bit in bits
    ]
    parts.append(
        f'<text class="label" x="{(NAMES + width) / 2}" y="{height - 5}">bit; darkest: '
        f"{most:.1g}, each power of ten paler</text>"
    )
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _share(value: float, most: float) -> float:
    """How dark a cell is.

    Example:
        >>> _share(1.0, 1.0), round(_share(0.1, 1.0), 2), _share(1e-9, 1.0), _share(0.0, 1.0)
        (1.0, 0.86, 0.0, 0.0)
    """
    if value <= 0 or most <= 0:
        return 0.0
    return max(0.0, 1 + math.log10(value / most) / DECADES)
