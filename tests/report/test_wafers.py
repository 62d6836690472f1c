import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from chipmend.errors import LotError
from chipmend.report import write_report
from chipmend.report.html import page
from chipmend.report.wafers import MOST, check_placed, left_out, wafer_views


@pytest.fixture
def on_wafers(outcome):
    places = [("W1", 0, 0), ("W1", 2, 1), ("W2", 5, 5)]
    chips = [
        replace(chip, wafer=wafer, x=x, y=y)
        for chip, (wafer, x, y) in zip(outcome.chips, places, strict=True)
    ]
    return replace(outcome, chips=chips)


def squares(figure):
    found = ET.fromstring(figure.svg).iter()
    return [e for e in found if e.tag == "rect"]


def test_every_wafer_is_seen_by_rate_and_by_bin_and_accuracy_under_each_policy(on_wafers):
    views = wafer_views(on_wafers)
    assert {name: len(found) for name, found in views.items()} == {"W1": 5, "W2": 5}
    for name, dies in (("W1", 2), ("W2", 1)):
        assert [len(squares(view)) for view in views[name]] == [dies] * 5
        said = [view.caption for view in views[name]]
        assert "Fault rate" in said[0]
        assert sum(caption.endswith("bins.") for caption in said) == 2
        assert sum("test accuracy" in caption for caption in said) == 2


def test_dies_lie_where_they_lay_the_first_row_at_the_bottom(on_wafers):
    one, other = squares(wafer_views(on_wafers)["W1"][0])
    assert int(other.get("x")) - int(one.get("x")) == 2 * 14
    assert int(one.get("y")) - int(other.get("y")) == 14


def test_what_does_not_ship_is_outlined_and_bins_have_colours_of_their_own(on_wafers):
    _, bins, accuracy, *_ = wafer_views(on_wafers)["W1"]
    assert [e.get("class") for e in squares(accuracy)] == ["die heat", "die none"]
    assert len({e.get("class") for e in squares(bins)}) == len(bins.key) == 2


def test_chips_are_named_as_text_whatever_they_are_called(on_wafers):
    assert "<script>" not in "".join(
        view.svg for found in wafer_views(on_wafers).values() for view in found
    )


def test_of_many_wafers_some_are_shown(outcome):
    chips = [
        replace(outcome.chips[0], wafer=f"W{n}", x=n, y=0, chip=outcome.chips[0].chip)
        for n in range(MOST + 3)
    ]
    many = replace(outcome, chips=[*chips, replace(chips[0], x=None)])
    assert len(wafer_views(many)) == MOST
    said = f"The first {MOST} of {MOST + 3} wafers. Where 1 of {MOST + 4} chips lay is not known."
    assert left_out(many) == said
    assert said in page(many)


def test_reports_show_wafers_where_chips_have_coordinates(outcome, on_wafers, tmp_path):
    assert "<h2>Wafers</h2>" in page(on_wafers)
    assert left_out(on_wafers) == ""
    assert "<h2>Wafers</h2>" not in page(outcome)
    assert write_report(on_wafers, tmp_path / "r.html").exists()


def test_a_view_of_wafers_without_coordinates_is_refused(outcome, on_wafers):
    check_placed(on_wafers.chips)
    with pytest.raises(LotError, match="no chip of the run has coordinates"):
        check_placed(outcome.chips)


def test_the_tester_s_time_is_told(outcome):
    timed = [replace(chip, tester_seconds=1.5) for chip in outcome.chips[:2]]
    known = replace(outcome, chips=[*timed, outcome.chips[2]])
    assert known.tester_seconds == 3.0
    assert re.search(r"On the tester: 3\.0 s", page(known))
    assert "On the tester" not in page(outcome)
