import itertools
import xml.etree.ElementTree as ET

import pytest

from chipmend.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Chart, bars, percent


def chart():
    return Chart("t & t", Axis("x", 0.0, 2.0), Axis("y", 10.0, 20.0))


def marks(made, name):
    return [e for e in ET.fromstring(made.svg()).iter() if e.tag == name]


@pytest.mark.parametrize(
    ("point", "place"),
    [
        ((0.0, 10.0), (LEFT, HEIGHT - BOTTOM)),
        ((2.0, 20.0), (WIDTH - RIGHT, TOP)),
        ((1.0, 15.0), ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2)),
        ((9.0, 0.0), (WIDTH - RIGHT, HEIGHT - BOTTOM)),
    ],
)
def test_a_dot_lies_where_the_axes_put_it_and_never_outside(point, place):
    made = chart()
    made.dot(point, 0, "here")
    (dot,) = marks(made, "circle")
    assert (float(dot.get("cx")), float(dot.get("cy"))) == pytest.approx(place, abs=0.06)


def test_labels_are_escaped():
    made = chart()
    made.cross((1, 11), "<script>")
    made.line([(0, 10), (1, 11)], 9, "a & b")
    assert [e.text for e in ET.fromstring(made.svg()).iter("title")] == ["<script>", "a & b"]
    assert "line s1" in made.svg()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.83, 0.94), (0, 0.003), (-5, 5000), (0, 4.2)])
def test_ticks_are_few_round_and_within_the_axis(low, high):
    ticks = Axis("x", low, high).ticks()
    assert 3 <= len(ticks) <= 8
    assert low <= ticks[0]
    assert ticks[-1] <= high
    steps = {round(b - a, 10) for a, b in itertools.pairwise(ticks)}
    assert len(steps) == 1
    assert f"{steps.pop():e}"[0] in "125"


def test_bars_are_as_long_as_their_values():
    drawn = ET.fromstring(
        bars("b", [("one", 1.0, "1"), ("four", 4.0, "4"), ("none", 0.0, "0")], 4.0)
    )
    lengths = [float(e.get("width")) for e in drawn.iter("rect")]
    assert lengths[1] == pytest.approx(4 * lengths[0])
    assert lengths[2] == 0.0
    assert bars("b", [("none", 0.0, "0")], 0.0)


def test_percent_keeps_what_matters():
    assert [percent(v) for v in (0.9275, 0.5, 0.00123, 0)] == ["92.75 %", "50 %", "0.123 %", "0 %"]
