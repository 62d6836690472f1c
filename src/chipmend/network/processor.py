"""How this process uses its processor: threads to compute with, and memory kept when freed.

glibc hands blocks of more than 128 KiB back to the kernel as soon as they are freed. A training
step frees and takes its activations each time, and the page faults cost a quarter of it.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # names of mallopt(3)


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep what it has; does nothing elsewhere.

    Returns:
        Whether the allocator took it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26))
    return all(mallopt(name, value) == 1 for name, value in settings)


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with so many threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
