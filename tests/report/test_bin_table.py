import csv
from dataclasses import replace

from chipmend.report import bin_table
from chipmend.report.bin_table import COLUMNS


def test_every_chip_has_a_line_under_every_policy(outcome):
    placed = [
        replace(c, wafer="W1", x=x, y=0, tester_seconds=1.5) for x, c in enumerate(outcome.chips)
    ]
    lines = list(csv.DictReader(bin_table(replace(outcome, chips=placed)).splitlines()))
    assert [(line["policy"], line["chip"]) for line in lines] == [
        (record.policy, record.chip) for record in outcome.records
    ]
    assert tuple(lines[0]) == COLUMNS
    first, second, third, *_ = lines
    assert (first["bin"], first["met"], first["accuracy"]) == ("retrained", "1", "0.91")
    assert (first["wafer"], first["x"], first["tester_seconds"]) == ("W1", "0", "1.5")
    assert float(first["ee"]) == outcome.records[0].ee
    assert (second["bin"], second["met"], second["accuracy"]) == ("scrapped", "0", "")
    assert second["reason"] == "too <b>bad</b>"
    assert (third["bin"], third["reason"], third["ee"]) == ("unrepairable", "no clock", "0.0")


def test_a_shared_network_is_paid_for_by_all_that_have_it(outcome):
    shared = replace(outcome, records=[replace(r, shared_by=2) for r in outcome.records])
    whole, halves = (list(csv.DictReader(bin_table(o).splitlines())) for o in (outcome, shared))
    for name in ("ee", "seconds"):
        assert float(halves[0][name]) == float(whole[0][name]) / 2
