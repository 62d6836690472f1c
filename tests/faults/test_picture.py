import struct
import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chipmend.faults import FaultMap, ascii_picture, png_picture
from chipmend.faults.picture import COLOURS

MAPS = arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))


def decoded(png):
    """Read a palette PNG by the book: signature, chunks with their check sums, filter type 0."""
    assert png[:8] == bytes([137, 80, 78, 71, 13, 10, 26, 10])
    chunks, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        name, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        (check,) = struct.unpack(">I", png[at + 8 + length : at + 12 + length])
        assert check == zlib.crc32(name + data)
        chunks.append((name, data))
        at += 12 + length
    assert [name for name, _ in chunks] == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    (_, head), (_, palette), (_, data), (_, end) = chunks
    width, height, *kind = struct.unpack(">IIBBBBB", head)
    assert (kind, end) == ([8, 3, 0, 0, 0], b"")
    lines = zlib.decompress(data)
    assert len(lines) == height * (width + 1)
    assert not any(lines[:: width + 1])
    return [
        [
            tuple(palette[3 * lines[at] : 3 * lines[at] + 3])
            for at in range(y * (width + 1) + 1, (y + 1) * (width + 1))
        ]
        for y in range(height)
    ]


def test_a_png_shows_every_pe_in_the_colour_of_its_class():
    pes = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 0]], dtype=bool)
    faults = FaultMap(rows=3, cols=3, faulty_pes=pes, dead_rows=((1, 1),), dead_cols=(2,))
    h, p, r, c = COLOURS.values()
    assert decoded(png_picture(faults)) == [[h, h, c], [p, r, c], [h, h, c]]


@given(MAPS)
def test_a_png_is_coloured_where_a_pe_is_unusable(pes):
    faults = FaultMap(rows=pes.shape[0], cols=pes.shape[1], faulty_pes=pes)
    picture = decoded(png_picture(faults))
    assert [[pixel != COLOURS["healthy"] for pixel in line] for line in picture] == pes.tolist()


def test_a_png_of_a_large_map_is_small():
    pes = np.zeros((256, 256), dtype=bool)
    assert len(png_picture(FaultMap(rows=256, cols=256, faulty_pes=pes))) < 1000


def test_the_colours_differ():
    assert len(set(COLOURS.values())) == len(COLOURS)


@given(MAPS)
def test_an_array_that_fits_is_drawn_pe_by_pe(pes):
    lines = ascii_picture(pes, width=40).split("\n")
    drawn = [[character in pair for character in line] for line in lines for pair in ("▀█", "▄█")]
    assert drawn[: len(pes)] == pes.tolist()
    assert not any(any(line) for line in drawn[len(pes) :])


@given(MAPS, st.integers(1, 10))
def test_a_large_array_is_drawn_in_shades_of_its_share(pes, width):
    across = -(-pes.shape[1] // width)
    lines = ascii_picture(pes, width).split("\n")
    assert max(map(len, lines)) <= width
    if across > 1:
        for y, line in enumerate(lines):
            for x, character in enumerate(line):
                block = pes[2 * across * y : 2 * across * (y + 1), across * x : across * (x + 1)]
                quarters = -(-4 * int(block.sum()) // block.size)
                assert character == " ░▒▓█"[quarters]


def test_a_single_faulty_pe_shows_on_a_large_array():
    pes = np.zeros((256, 256), dtype=bool)
    pes[200, 100] = True
    picture = ascii_picture(pes)
    assert picture.count("░") == 1
    assert [len(line) for line in picture.split("\n")] == [64] * 32
