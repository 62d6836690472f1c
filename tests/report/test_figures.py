import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from chipmend.confidence import Accuracy, Drop
from chipmend.repairs import Cost
from chipmend.report import figures, page
from chipmend.steps import Prune
from report.conftest import WICKED


def titles(figure):
    return [e.text for e in ET.fromstring(figure.svg).iter("title")]


def test_figure_2a_has_a_line_per_rate_through_the_means_and_the_constraint(outcome):
    said = titles(figures.accuracy_over_amount(outcome.table, outcome))
    assert "constraint: 91.2 %" in said
    assert "10 % of PEs, 0 epochs: 91 %" in said  # (0.90 + 0.92) / 2
    assert "50 % of PEs, 0.5 epochs: 82.5 %" in said
    assert len(said) == 1 + 2 * (1 + 3)


def test_a_repeat_that_was_ended_counts_on_as_it_was_and_the_caption_says_so(outcome):
    first, *others = outcome.table.trajectories  # 0.90, 0.92, 0.93
    ended = replace(first, accuracies=first.accuracies[:1])
    table = replace(outcome.table, trajectories=(ended, *others))
    figure = figures.accuracy_over_amount(table, outcome)
    assert "10 % of PEs, 1 epochs: 91.5 %" in titles(figure)  # (0.90 + 0.93) / 2
    assert "was trained no further" in figure.caption
    assert "no further" not in figures.accuracy_over_amount(outcome.table, outcome).caption
    needed = figures.amount_over_rate(table, replace(outcome, constraint=Drop(0.05)))
    assert "10 %: 0 to 0, mean 0 epochs" in titles(needed)


def test_figure_2b_shows_the_range_and_marks_what_was_not_reached(outcome):
    figure = figures.amount_over_rate(outcome.table, outcome)
    assert titles(figure)[:2] == ["10 %: 0 to 0.5, mean 0.25 epochs"] * 2
    assert "50 %: not reached within 1 epochs" in titles(figure)
    assert figure.svg.count('class="cross"') == 1


def test_figure_3_tells_met_from_missed(outcome):
    assert titles(figures.accuracy_of_chips("Reduce-max", outcome))[1:] == [
        "a: 25 % faulty, 91 %, met"
    ]
    missed = replace(outcome, records=[replace(outcome.records[0], met=False)])
    figure = figures.accuracy_of_chips("Fixed(0.5)", missed)
    assert titles(figure)[1:] == ["a: 25 % faulty, 91 %, missed"]
    assert 'class="cross"' in figure.svg


def test_the_constraint_on_accuracy_is_drawn_as_it_is(outcome):
    figure = figures.accuracy_of_chips("Reduce-max", replace(outcome, constraint=Accuracy(0.9)))
    assert titles(figure)[0] == "constraint: 90 %"


def test_every_chip_but_the_unrepairable_has_its_amount(outcome):
    assert titles(figures.amount_of_chips("Reduce-max", outcome)) == [
        "a: 25 % faulty, 0.5 epochs",
        f"{WICKED}: 25 % faulty, 0 epochs",
    ]


def test_a_policy_that_retrained_no_chip_has_no_figure_of_amounts(outcome):
    records = [
        replace(record, steps=(Prune(),)) if record.policy == "Reduce-max" else record
        for record in outcome.records
    ]
    made = replace(outcome, records=records)
    assert figures.amount_of_chips("Reduce-max", made) is None
    assert figures.amount_of_chips("Fixed(0.5)", made) is not None
    captions = re.findall("<figcaption>(.*?)</figcaption>", page(made))
    assert sum("amount of retraining of each chip" in said for said in captions) == 1


def mark(figure, title, kind):
    """The element of a kind under a title."""
    groups = [g for g in ET.fromstring(figure.svg).iter("g") if g.findtext("title") == title]
    (found,) = [e for group in groups for e in group if e.tag == kind]
    return found.attrib


def ticks(figure):
    """Where the written values of both axes lie: across by x, up by y."""
    texts = [e for e in ET.fromstring(figure.svg).iter("text") if "tick" in e.get("class", "")]
    value = {e: float(e.text.removesuffix(" %")) * (0.01 if "%" in e.text else 1) for e in texts}
    across = [(value[e], float(e.get("x"))) for e in texts if "up" not in e.get("class")]
    up = [(value[e], float(e.get("y")) - 3.5) for e in texts if "up" in e.get("class")]
    return across, up


def on_axis(scale, place):
    """The value at a place, read off two ticks as a person would."""
    (low, start), *_, (high, end) = scale
    return low + (place - start) / (end - start) * (high - low)


def read_off(figure, across, up):
    scale_across, scale_up = ticks(figure)
    return on_axis(scale_across, float(across)), on_axis(scale_up, float(up))


def dot(figure, title):
    found = mark(figure, title, "circle")
    return read_off(figure, found["cx"], found["cy"])


def test_dots_of_figure_2a_lie_where_their_numbers_say(outcome):
    figure = figures.accuracy_over_amount(outcome.table, outcome)
    found = dot(figure, "50 % of PEs, 0.5 epochs: 82.5 %")
    assert found == pytest.approx((0.5, 0.825), abs=0.005)
    line = mark(figure, "50 % of PEs", "polyline")["points"].split()
    points = [read_off(figure, *point.split(",")) for point in line]
    assert points == [
        pytest.approx(point, abs=0.005) for point in [(0, 0.45), (0.5, 0.825), (1.0, 0.91)]
    ]


def test_error_bars_of_figure_2b_reach_from_the_least_to_the_most(outcome):
    shifted = replace(
        outcome.table,
        trajectories=tuple(
            replace(t, effective_rate=t.rate / 2) for t in outcome.table.trajectories
        ),
    )
    figure = figures.amount_over_rate(shifted, outcome)
    title = "5 %: 0 to 0.5, mean 0.25 epochs"
    assert dot(figure, title) == pytest.approx((0.05, 0.25), abs=0.005)
    left, top, bottom = re.fullmatch(
        r"M(\S+) (\S+)h8m-4 0V(\S+)m-4 0h8", mark(figure, title, "path")["d"]
    ).groups()
    assert read_off(figure, float(left) + 4, top) == pytest.approx((0.05, 0.5), abs=0.005)
    assert read_off(figure, float(left) + 4, bottom) == pytest.approx((0.05, 0.0), abs=0.005)


def test_dots_of_figure_3_lie_at_the_chip_s_own_rate_and_accuracy(outcome):
    upper = figures.accuracy_of_chips("Reduce-max", outcome)
    assert dot(upper, "a: 25 % faulty, 91 %, met") == pytest.approx((0.25, 0.91), abs=0.002)
    lower = figures.amount_of_chips("Reduce-max", outcome)
    assert dot(lower, "a: 25 % faulty, 0.5 epochs") == pytest.approx((0.25, 0.5), abs=0.005)


def test_the_rule_of_figure_3_is_the_drop_from_the_clean_test_accuracy(outcome):
    figure = figures.accuracy_of_chips("Reduce-max", outcome)  # clean on test: 92.5 %
    height = re.search(r"M[0-9]+ (\S+)H", mark(figure, "constraint: 90.7 %", "path")["d"]).group(1)
    assert on_axis(ticks(figure)[1], float(height)) == pytest.approx(0.907, abs=0.002)


@pytest.mark.parametrize("constraint", [Drop(0.018), Accuracy(0.97)])
def test_nothing_better_than_the_clean_network_falls_off_the_axis(outcome, constraint):
    better = replace(outcome.records[0], accuracy=0.96)
    made = replace(outcome, constraint=constraint, records=[better, *outcome.records[1:]])
    figure = figures.accuracy_of_chips("Fixed(0.5)", made)
    assert dot(figure, "a: 25 % faulty, 96 %, met")[1] == pytest.approx(0.96, abs=0.002)
    bar = 0.907 if isinstance(constraint, Drop) else 0.97
    rule = mark(figure, f"constraint: {100 * bar:g} %", "path")["d"]
    height = re.search(r"M[0-9]+ (\S+)H", rule).group(1)
    assert on_axis(ticks(figure)[1], float(height)) == pytest.approx(bar, abs=0.002)


def test_no_two_of_many_yield_curves_look_alike_and_the_key_says_which_is_which(outcome):
    names = [f"policy {number}" for number in range(20)]
    first = outcome.records[0]
    many = replace(
        outcome,
        policies={name: {} for name in names},
        records=[replace(first, policy=name) for name in names],
    )
    for figure in (figures.yield_of_accuracy(many), figures.yield_of_cost(many)):
        drawn = [e.get("class") for e in ET.fromstring(figure.svg).iter("polyline")]
        assert drawn == [f"line {look}" for look, _ in figure.key]
        assert len(set(drawn)) == 20
        assert [name for _, name in figure.key] == names


def test_bars_say_the_sums(outcome):
    sums = outcome.sums()
    assert "1 of 3" in figures.met_bars(sums).svg
    total = 2 * (0.5 + 0.0125 + 0.03)
    assert f"{total:.3g} EE" in figures.cost_bars(sums).svg
    assert f"{total + 6.0:.3g} EE" in figures.cost_bars(sums).svg
    shared = replace(outcome, shared={**outcome.shared, "Reduce-max": Cost(algebra=4.0)})
    assert f"{total + 10.0:.3g} EE" in figures.cost_bars(shared.sums()).svg
