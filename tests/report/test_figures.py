import xml.etree.ElementTree as ET
from dataclasses import replace

from chipmend.confidence import Accuracy
from chipmend.report import figures


def titles(figure):
    return [e.text for e in ET.fromstring(figure.svg).iter("title")]


def test_figure_2a_has_a_line_per_rate_through_the_means_and_the_constraint(outcome):
    said = titles(figures.accuracy_over_amount(outcome.table, outcome))
    assert "constraint: 91.2 %" in said
    assert "10 % of PEs faulty, 0 epochs: 91 %" in said  # (0.90 + 0.92) / 2
    assert "50 % of PEs faulty, 0.5 epochs: 82.5 %" in said
    assert len(said) == 1 + 2 * (1 + 3)


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


def test_every_chip_has_its_amount(outcome):
    assert len(titles(figures.amount_of_chips("Reduce-max", outcome))) == 3


def test_bars_say_the_sums(outcome):
    sums = outcome.sums()
    assert "1 of 3" in figures.met_bars(sums).svg
    total = 2 * (0.5 + 0.0125 + 0.03)
    assert f"{total:.3g} EE" in figures.cost_bars(sums).svg
    assert f"{total + 6.0:.3g} EE" in figures.cost_bars(sums).svg
