import dataclasses

import pytest

from chipmend.errors import ArrayError
from chipmend.hardware import Array


@pytest.mark.parametrize(("rows", "cols"), [(0, 1), (1, 0), (-4, 4), (0, 0)])
def test_an_array_without_rows_or_columns_is_refused(rows, cols):
    with pytest.raises(ArrayError, match=f"{rows} x {cols} has no PE"):
        Array(rows=rows, cols=cols)


def test_an_array_of_one_pe_is_an_array():
    assert dataclasses.asdict(Array(rows=1, cols=1)) == {
        "rows": 1,
        "cols": 1,
        "placement": "im2col",
    }


def test_an_array_cannot_change_and_can_be_a_key():
    array = Array(rows=2, cols=3, placement="channel")
    with pytest.raises(dataclasses.FrozenInstanceError):
        array.rows = 4
    assert {array: 1}[Array(rows=2, cols=3, placement="channel")] == 1
    assert array != Array(rows=2, cols=3)
