import dataclasses

import numpy as np
import pytest

from chipmend.errors import ArrayError
from chipmend.hardware import Array


@pytest.mark.parametrize(("rows", "cols"), [(0, 1), (1, 0), (-4, 4), (0, 0)])
def test_an_array_without_rows_or_columns_is_refused(rows, cols):
    with pytest.raises(ArrayError, match=f"{rows} x {cols} has no PE"):
        Array(rows=rows, cols=cols)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rows": 4.0}, "rows is 4.0"),
        ({"cols": "4"}, "cols is '4'"),
        ({"placement": "channels"}, "no placement 'channels'"),
        ({"rows": 2**13, "cols": 2**12}, "33,554,432 PEs"),
        ({"accumulators": 24}, "24 are no accumulators"),
    ],
)
def test_what_is_no_array_is_refused(wrong, said):
    with pytest.raises(ArrayError, match=said):
        Array(**{"rows": 4, "cols": 4, **wrong})


def test_numpy_s_whole_numbers_become_python_s():
    array = Array(rows=np.int64(4), cols=np.uint8(3))
    assert (type(array.rows), type(array.cols)) == (int, int)
    assert Array(rows=2**12, cols=2**12).rows == 4096


def test_an_array_of_one_pe_is_an_array():
    assert dataclasses.asdict(Array(rows=1, cols=1)) == {
        "rows": 1,
        "cols": 1,
        "placement": "im2col",
        "memory": {"words": None, "bits": 8, "coding": "twos_complement", "line": 16},
        "accumulators": {
            "bits": 32,
            "overflow": "wrap",
            "tiles": "outside",
            "outside_bits": 32,
        },
    }


def test_an_array_cannot_change_and_can_be_a_key():
    array = Array(rows=2, cols=3, placement="channel")
    with pytest.raises(dataclasses.FrozenInstanceError):
        array.rows = 4
    assert {array: 1}[Array(rows=2, cols=3, placement="channel")] == 1
    assert array != Array(rows=2, cols=3)
