"""The IDX format of the MNIST family: a magic number, the sizes, then bytes."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from chipmend.errors import DataError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """Read one IDX file of unsigned bytes, plain or gzipped.

    Args:
        path: The file.

    Returns:
        The array, in the sizes that the file states.

    Raises:
        DataError: Not such a file, or one cut short.
    """
    return parse_idx(unpacked(path), path)


def unpacked(path: Path) -> bytes:
    """The content of a file, gunzipped where it is gzipped."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"cannot read {path}: {error}", hint="get the file again: it is damaged or missing"
        ) from error


def parse_idx(content: bytes, path: Path) -> UInt8[np.ndarray, "..."]:
    """Read an IDX array of unsigned bytes out of a file's content; ``path`` is for errors."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise DataError(
            f"{path} is not an IDX file of unsigned bytes",
            hint="give the files train-images-idx3-ubyte[.gz] and its three companions",
        )
    header = 4 + 4 * content[3]
    sizes = struct.unpack(f">{content[3]}I", content[4:header]) if len(content) >= header else ()
    wanted = header + math.prod(sizes)
    if not sizes or len(content) != wanted:
        raise DataError(
            f"{path} holds {len(content)} bytes where its header asks for {wanted}",
            hint="get the file again: it is cut short or has grown",
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)
