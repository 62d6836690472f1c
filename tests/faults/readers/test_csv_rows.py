from pathlib import Path

import pytest

from chipmend.errors import LotError
from chipmend.faults.readers.csv_rows import (
    ALLOWED,
    COLUMNS,
    NEEDED,
    ChipRows,
    Problems,
    Row,
    check_header,
    row_of,
)
from chipmend.hardware import Array

PATH = Path("faults.csv")


def test_a_class_may_fill_what_it_needs():
    assert all(set(NEEDED.get(kind, ())) <= set(ALLOWED[kind]) <= set(COLUMNS) for kind in ALLOWED)


def test_a_row_holds_its_filled_cells():
    row = row_of(["chip", "class", "row"], [" a", "none ", " "], 7, Problems(PATH))
    assert row == Row(7, {"chip": "a", "class": "none"})


def test_an_empty_line_is_no_row_and_no_problem():
    problems = Problems(PATH)
    assert row_of(["chip"], [], 7, problems) is None
    problems.check()


def test_no_problem_is_added_beyond_twenty():
    problems = Problems(PATH)
    for line in range(25):
        problems.add(line, "wrong")
    assert problems.full
    with pytest.raises(LotError) as caught:
        problems.check()
    assert caught.value.message.count("wrong") == 20


def test_a_header_gives_its_names():
    assert check_header([f" {name}" for name in COLUMNS], PATH) == list(COLUMNS)


def test_the_same_fault_twice_is_one_fault():
    problems = Problems(PATH)
    rows = ChipRows(2, Array(rows=2, cols=2), problems)
    for line in (2, 3):
        rows.add(Row(line, {"class": "pe", "row": "1", "col": "0"}))
    rows.check()
    problems.check()
    assert rows.chip("a", "").faults.faulty_pes.tolist() == [[False, False], [True, False]]
