"""Charts as inline SVG: no script, nothing from outside, and colours from the page.

Marks carry classes, which the page's style sheet colours in light and in dark: ``s0`` to ``s7`` for
series, and for series beyond these the same, with lines ``dashed1`` and ``dashed2``. Every mark has
a ``<title>``, which browsers show when the pointer rests on it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 60, 12, 10, 40
COLOURS = 8
DASHES = 3
"""Ways in which the lines of a colour may be dashed, not at all among them."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a chart.

    Args:
        label: What it shows, with its unit and base.
        low: Value at its beginning.
        high: Value at its end.
        shown: How a tick is written.
    """

    label: str
    low: float
    high: float
    shown: Callable[[float], str] = "{:g}".format

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the beginning, 1 at the end."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """A few round numbers within the axis.

        Example:
            >>> Axis("x", 0, 0.53).ticks()
            [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
        """
        step = _round_step((self.high - self.low) / 7)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]


def look_of(series: int) -> str:
    """Classes by which a series looks other than others: its colour, and how its lines are dashed.

    Example:
        >>> look_of(1), look_of(9), look_of(17), look_of(25)
        ('s1', 's1 dashed1', 's1 dashed2', 's1')
    """
    turn = series // COLOURS % DASHES
    return f"s{series % COLOURS}" + (f" dashed{turn}" if turn else "")


def percent(value: float) -> str:
    """A fraction as percent.

    Example:
        >>> percent(0.125)
        '12.5 %'
    """
    return f"{100 * value:.4g} %"


@dataclass(slots=True)
class Chart:
    """A chart with two axes, onto which marks are put in the order of the calls.

    Args:
        title: What it shows, for those who cannot see it.
        x: Axis across.
        y: Axis up.
    """

    title: str
    x: Axis
    y: Axis
    _marks: list[str] = field(default_factory=list)

    def line(self, points: Sequence[Point], series: int, label: str) -> None:
        """Join points by a line."""
        path = " ".join(f"{self._at(p)[0]:.1f},{self._at(p)[1]:.1f}" for p in points)
        self._mark(f'<polyline class="line {look_of(series)}" points="{path}"/>', label)

    def dot(self, point: Point, series: int, label: str) -> None:
        """Mark a point by a disc."""
        x, y = self._at(point)
        self._mark(
            f'<circle class="dot {look_of(series)}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>', label
        )

    def cross(self, point: Point, label: str) -> None:
        """Mark a point by a cross: something that missed."""
        x, y = self._at(point)
        path = f"M{x - 3.5:.1f} {y - 3.5:.1f}l7 7m0 -7l-7 7"
        self._mark(f'<path class="cross" d="{path}"/>', label)

    def span(self, x: float, low: float, high: float, series: int, label: str) -> None:
        """Mark a range of values at one place by an error bar."""
        (across, top), (_, bottom) = self._at((x, high)), self._at((x, low))
        path = f"M{across - 4:.1f} {top:.1f}h8m-4 0V{bottom:.1f}m-4 0h8"
        self._mark(f'<path class="span {look_of(series)}" d="{path}"/>', label)

    def rule(self, y: float, label: str) -> None:
        """Draw a level across the whole chart."""
        _, height = self._at((self.x.low, y))
        path = f"M{LEFT} {height:.1f}H{WIDTH - RIGHT}"
        self._mark(f'<path class="rule" d="{path}"/>', label)

    def svg(self) -> str:
        """The chart."""
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(self.title)}">{self._axes()}{"".join(self._marks)}</svg>'
        )

    def _at(self, point: Point) -> Point:
        across = min(max(self.x.share(point[0]), 0.0), 1.0)
        up = min(max(self.y.share(point[1]), 0.0), 1.0)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (
            HEIGHT - TOP - BOTTOM
        )

    def _mark(self, element: str, label: str) -> None:
        self._marks.append(f"<g><title>{escape(label)}</title>{element}</g>")

    def _axes(self) -> str:
        parts = [_across(self._at((tick, 0))[0], self.x.shown(tick)) for tick in self.x.ticks()]
        parts += [_up(self._at((0, tick))[1], self.y.shown(tick)) for tick in self.y.ticks()]
        middle = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(
            f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">'
            f"{escape(self.x.label)}</text>"
            f'<text class="label" transform="translate(11 {middle}) rotate(-90)">'
            f"{escape(self.y.label)}</text>"
        )
        return "".join(parts)


def bars(title: str, rows: Sequence[tuple[str, float, str]], top: float) -> str:
    """Horizontal bars, one below the other.

    Args:
        title: What they show, for those who cannot see it.
        rows: Name, value, and the value as it is written.
        top: Value of a bar over the whole width.

    Returns:
        The chart.
    """
    height = 24
    parts = []
    for place, (name, value, shown) in enumerate(rows):
        length = 190 * value / top if top > 0 else 0.0
        y = place * height
        squeezed = ' textLength="128" lengthAdjust="spacingAndGlyphs"' if len(name) > 20 else ""
        parts.append(
            f'<text class="name" x="132" y="{y + 16}"{squeezed}>{escape(name)}</text>'
            f'<rect class="bar {look_of(place)}" x="138" y="{y + 4}" width="{length:.1f}" '
            f'height="16"/>'
            f'<text class="value" x="{144 + length:.1f}" y="{y + 16}">{escape(shown)}</text>'
        )
    return (
        f'<svg class="chart" viewBox="0 0 400 {height * len(rows)}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _across(x: float, shown: str) -> str:
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}">{escape(shown)}</text>'
    )


def _up(y: float, shown: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick up" x="{LEFT - 5}" y="{y + 3.5:.1f}">{escape(shown)}</text>'
    )


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step - 1e-12)
