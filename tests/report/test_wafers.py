import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from chipmend.errors import LotError
from chipmend.fleet import Bin
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
    assert {name: len(found) for name, found in views.items()} == {
        "wafer W1": 5, "wafer W2": 5,
    }  # fmt: skip
    for name, dies in (("wafer W1", 2), ("wafer W2", 1)):
        assert [len(squares(view)) for view in views[name]] == [dies] * 5
        said = [view.caption for view in views[name]]
        assert "Fault rate" in said[0]
        assert sum(caption.endswith("bins.") for caption in said) == 2
        assert sum("test accuracy" in caption for caption in said) == 2


def test_dies_lie_where_they_lay_the_first_row_at_the_bottom(on_wafers):
    one, other = squares(wafer_views(on_wafers)["wafer W1"][0])
    assert int(other.get("x")) - int(one.get("x")) == 2 * 14
    assert int(one.get("y")) - int(other.get("y")) == 14


def test_what_does_not_ship_is_outlined_and_bins_have_colours_of_their_own(on_wafers):
    _, bins, accuracy, *_ = wafer_views(on_wafers)["wafer W1"]
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


def test_every_bin_has_a_colour_that_the_page_knows(on_wafers):
    for bin_ in Bin:
        records = [replace(record, bin=bin_) for record in on_wafers.records]
        told = replace(on_wafers, records=records)
        (colour,) = {e.get("class") for e in squares(wafer_views(told)["wafer W2"][1])}
        rule = "." + colour.replace(" ", ".") + " {"
        assert rule in page(told)


def test_lots_and_wafers_of_like_names_are_told_apart(outcome):
    places = [("L1", "W1"), ("L1 W1", ""), ("", "L1 W1")]
    chips = [
        replace(chip, lot=lot, wafer=wafer, x=0, y=0)
        for chip, (lot, wafer) in zip(outcome.chips, places, strict=True)
    ]
    views = wafer_views(replace(outcome, chips=chips))
    assert list(views) == ["lot L1, wafer W1", "lot L1 W1", "wafer L1 W1"]


def test_dies_that_are_said_to_lie_in_one_place_are_counted(outcome):
    chips = [replace(chip, x=0, y=0) for chip in outcome.chips]
    there = replace(outcome, chips=chips)
    assert [len(squares(view)) for view in wafer_views(there)["wafer without a name"]] == [1] * 5
    assert left_out(there) == "2 of 3 chips are said to lie where another does."


def test_wafers_without_a_fault_are_pale(outcome):
    chips = [replace(chip, wafer="W", x=x, y=0) for x, chip in enumerate(outcome.chips)]
    clean = [replace(chip, fault_rate=0.0) for chip in chips]
    for lot, heat in ((clean, "--heat:0%"), (chips, "--heat:100%")):
        view = wafer_views(replace(outcome, chips=lot))["wafer W"][0]
        assert heat in {e.get("style") for e in squares(view)}
