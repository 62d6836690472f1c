import os
import pickle
import struct

import numpy as np
import pytest

from chipmend.data.pickles import plain_contents
from chipmend.errors import DataError


def text(content):
    """A text as Python 2 pickles it."""
    if len(content) < 256:
        return b"U" + bytes([len(content)]) + content
    return b"T" + struct.pack("<i", len(content)) + content


def array(rows, kind=b"u1", module=b"numpy.core.multiarray"):
    """An array of bytes as Python 2 and NumPy 1 pickle it, opcode by opcode."""
    made = b"c" + module + b"\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    sizes = b"".join(b"M" + struct.pack("<H", n) for n in rows.shape)
    dtype = b"cnumpy\ndtype\n" + text(kind) + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return made + b"(K\x01(" + sizes + b"t" + dtype + b"\x89" + text(rows.tobytes()) + b"tb"


def numbers(items):
    return b"](" + b"".join(b"K" + bytes([item]) for item in items) + b"e"


def python2(**parts):
    """A dict with keys of Python 2, in its protocol 2."""
    items = b"".join(text(key.encode()) + value for key, value in parts.items())
    return b"\x80\x02}(" + items + b"u."


ROWS = np.arange(600, dtype=np.uint8).reshape(2, 300)


def test_arrays_and_lists_of_python_2_come_out(tmp_path):
    content = python2(data=array(ROWS), labels=numbers([3, 0]))
    theirs = pickle.loads(content, encoding="bytes")
    ours = plain_contents(content, tmp_path)
    assert ours[b"labels"] == theirs[b"labels"] == [3, 0]
    np.testing.assert_array_equal(ours[b"data"], theirs[b"data"])
    assert ours[b"data"].dtype == np.uint8


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_python_3_pickles_comes_out_too(tmp_path, protocol):
    content = pickle.dumps({b"data": ROWS, b"labels": [1, 2]}, protocol)
    ours = plain_contents(content, tmp_path)
    np.testing.assert_array_equal(ours[b"data"], ROWS)


def test_columns_first_keep_their_places(tmp_path):
    content = pickle.dumps({b"data": np.asfortranarray(ROWS)}, 2)
    np.testing.assert_array_equal(plain_contents(content, tmp_path)[b"data"], ROWS)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Loading:
    def __reduce__(self):
        return np.load, ("x",)


def test_nothing_that_it_names_is_run(tmp_path):
    mark = tmp_path / "mark"
    for harmful in (Harmful(mark), {b"data": [Harmful(mark)]}, Loading()):
        with pytest.raises(DataError, match="it names"):
            plain_contents(pickle.dumps(harmful, 2), tmp_path / "file")
    assert not mark.exists()


def test_arrays_of_objects_are_refused(tmp_path):
    with pytest.raises(DataError, match="something other than bytes"):
        plain_contents(pickle.dumps(np.array([{}], object), 2), tmp_path)
    with pytest.raises(DataError, match="something other than bytes"):
        plain_contents(python2(data=array(ROWS, b"i4")), tmp_path)


@pytest.mark.parametrize("content", [b"", b"no pickle", python2(data=array(ROWS))[:-300]])
def test_a_damaged_file_is_named(tmp_path, content):
    with pytest.raises(DataError, match=f"{tmp_path} is not a pickle"):
        plain_contents(content, tmp_path)


def test_a_dict_within_itself_is_a_damaged_file(tmp_path):
    endless = {}
    endless[b"data"] = endless
    with pytest.raises(DataError, match="is not a pickle"):
        plain_contents(pickle.dumps(endless, 2), tmp_path)
