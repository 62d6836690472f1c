"""Pictures of a fault map: characters for a terminal, a PNG for a report.

The PNG is the smallest that does: one pixel per PE, a palette, no filter (PNG specification, W3C,
third edition, sections 5 and 11).
"""

import struct
import zlib

import numpy as np
from jaxtyping import Bool, Float64

from chipmend.faults.maps import FaultMap

HALVES = " ▀▄█"
"""Characters by what they cover: nothing, the upper PE, the lower PE, both."""
SHADES = " ░▒▓█"
"""Characters by how much of their area is unusable, in quarters, rounded up."""
COLOURS = {
    "healthy": (241, 243, 245),
    "faulty PE": (201, 42, 42),
    "dead row": (25, 113, 194),
    "dead column": (240, 140, 0),
}
"""Red, green and blue of each kind of PE, in the order of the palette."""


def ascii_picture(unusable: Bool[np.ndarray, "rows cols"], width: int = 64) -> str:
    """Draw a map for a terminal.

    Args:
        unusable: ``rows x cols``, true where a PE must not be used.
        width: Characters across, at most.

    Returns:
        Lines of equal length. An array that fits has one column per character and two rows;
        a larger one is drawn in shades, and a single unusable PE still shows.

    Example:
        >>> ascii_picture(np.array([[True, False, True], [False, True, True]]))
        '▀▄█'
    """
    across = -(-unusable.shape[1] // max(width, 1))
    if across > 1:
        quarters = np.ceil(4 * _shares(unusable, 2 * across, across)).astype(int)
        return "\n".join("".join(SHADES[quarter] for quarter in line) for line in quarters)
    upper = unusable[0::2].astype(int)
    lower = np.zeros_like(upper)
    lower[: len(unusable) // 2] = unusable[1::2]
    return "\n".join("".join(HALVES[code] for code in line) for line in upper + 2 * lower)


def png_picture(faults: FaultMap) -> bytes:
    """Draw a map as a PNG, one pixel per PE, a colour for each class of fault.

    Args:
        faults: The map; where classes meet, a dead column covers a dead row, and that a PE.

    Returns:
        The file's bytes; the colours are ``COLOURS``.

    Example:
        >>> png_picture(FaultMap(rows=1, cols=1, faulty_pes=np.array([[True]])))[1:4]
        b'PNG'
    """
    pixels = faults.faulty_pes.astype(np.uint8)
    for row, from_col in faults.dead_rows:
        pixels[row, from_col:] = 2
    pixels[:, list(faults.dead_cols)] = 3
    lines = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # filter type 0 before every line
    size = struct.pack(">IIBBBBB", faults.cols, faults.rows, 8, 3, 0, 0, 0)
    palette = bytes(level for colour in COLOURS.values() for level in colour)
    chunks = {b"IHDR": size, b"PLTE": palette, b"IDAT": zlib.compress(lines, 9), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks.items())


def _shares(
    unusable: Bool[np.ndarray, "rows cols"], down: int, across: int
) -> Float64[np.ndarray, "lines characters"]:
    tops, lefts = (
        np.arange(0, n, step) for n, step in zip(unusable.shape, (down, across), strict=True)
    )
    counts = np.add.reduceat(np.add.reduceat(unusable.astype(int), tops, axis=0), lefts, axis=1)
    heights, widths = (
        np.diff([*edges, n]) for edges, n in zip((tops, lefts), unusable.shape, strict=True)
    )
    return counts / np.outer(heights, widths)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
