"""How this process computes: threads, memory kept when freed, and the same results every time.

glibc hands blocks of more than 128 KiB back to the kernel as soon as they are freed. A training
step frees and takes its activations each time, and the page faults cost a quarter of it.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

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


def compute_repeatably_on(device: torch.device) -> None:
    """Have a GPU give the same results every time; a CPU does so by itself.

    What has no such form warns, and computes as it can.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as cuBLAS asks for
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with so many threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads, user_api="blas"):  # SciPy's; PyTorch has its own
            yield
    finally:
        torch.set_num_threads(before)
