import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.data.idx import parse_idx, read_idx, unpacked
from chipmend.errors import DataError


def idx(array):
    """The format by its definition: 0, 0, type 8, dimensions; big-endian sizes; bytes."""
    header = bytes([0, 0, 8, array.ndim])
    for size in array.shape:
        header += size.to_bytes(4, "big")
    return header + bytes(array.ravel().tolist())


ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda c: gzip.compress(c, 0)])
def test_a_file_is_read_plain_or_gzipped_whatever_its_name(tmp_path, pack):
    for name in ("x", "x.gz"):
        (tmp_path / name).write_bytes(pack(idx(ARRAY)))
        found = read_idx(tmp_path / name)
        assert found.dtype == np.uint8
        assert found.tolist() == ARRAY.tolist()


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_arrays_of_any_dimensions_come_back(sizes, seed):
    array = np.random.default_rng(seed).integers(0, 256, sizes, dtype=np.uint8)
    assert parse_idx(idx(array), "x").tolist() == array.tolist()


@pytest.mark.parametrize("cut", [1, 8, 12, 24, 28])
def test_a_file_that_was_cut_short_is_refused(tmp_path, cut):
    (tmp_path / "x").write_bytes(idx(ARRAY)[:-cut])
    with pytest.raises(DataError, match=r"x (holds \d+ bytes where|is not an IDX)") as caught:
        read_idx(tmp_path / "x")
    assert caught.value.hint


def test_every_proper_beginning_and_every_longer_file_is_refused():
    whole = idx(ARRAY)
    for wrong in (*(whole[:length] for length in range(len(whole))), whole + b"\0", whole * 2):
        with pytest.raises(DataError):
            parse_idx(wrong, "x")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\0\1\x08\1\0\0\0\1a",  # magic number
        b"\0\0\x0d\1\0\0\0\1abcd",  # floats
        b"\0\0\x08\0",  # no dimensions
        b"<html>not found</html>",
        b"\0\0\x08\2\xff\xff\xff\xff\xff\xff\xff\xff",  # more than there can be
        b"\0\0\x08\3" + struct.pack(">3I", 2**31, 2**31, 4),  # 2 ** 64 wraps around to nothing
    ],
)
def test_what_is_no_idx_file_of_bytes_is_refused(content):
    with pytest.raises(DataError, match="here"):
        parse_idx(content, "here")


@pytest.mark.parametrize("damage", ["cut", "flipped", "trailing", "checksum"])
def test_a_damaged_gzip_file_is_an_error_of_ours(tmp_path, damage):
    packed = bytearray(gzip.compress(idx(ARRAY)))
    if damage == "cut":
        del packed[-9:]
    elif damage == "flipped":
        packed[10] = 0xFF
    elif damage == "trailing":
        packed += b"more"
    else:
        packed[-8] ^= 1
    (tmp_path / "x.gz").write_bytes(packed)
    with pytest.raises(DataError, match=r"cannot read .*x\.gz"):
        read_idx(tmp_path / "x.gz")


def test_a_missing_file_and_a_folder_are_errors_of_ours(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            unpacked(path)


def test_a_file_of_no_samples_is_an_empty_array():
    assert parse_idx(idx(np.zeros((0, 28, 28), np.uint8)), "x").shape == (0, 28, 28)
