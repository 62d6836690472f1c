import platform
import subprocess
import sys

import pytest
import scipy.linalg  # noqa: F401  (loads its own library of threads)
import torch
from threadpoolctl import threadpool_info

from chipmend.network.processor import computing_with

KEEP = """
import resource
from chipmend.network.processor import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        b"".join([bytes(1), b"x" * (1 << 23)])
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = faults()
assert keep_freed_memory() is True
faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_kept_so_that_taking_it_again_costs_no_page_faults():
    done = subprocess.run(
        [sys.executable, "-c", KEEP], capture_output=True, text=True, check=True, timeout=120
    )
    before, after = map(int, done.stdout.split())
    assert after < before / 10


def scipy_s_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_threads_are_as_before_afterwards_even_after_an_error():
    before = torch.get_num_threads()
    before_in_scipy = scipy_s_threads()
    for count in (1, 2):
        with computing_with(count):
            assert torch.get_num_threads() == count
            assert scipy_s_threads() == {count}
    assert torch.get_num_threads() == before
    assert scipy_s_threads() == before_in_scipy
    with pytest.raises(ZeroDivisionError), computing_with(2):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


REPEATABLY = """
import os, sys, torch
from chipmend.network.processor import compute_repeatably_on
compute_repeatably_on(torch.device(sys.argv[1]))
print(torch.are_deterministic_algorithms_enabled(), "CUBLAS_WORKSPACE_CONFIG" in os.environ)
"""


@pytest.mark.parametrize(("device", "shown"), [("cuda:0", "True True"), ("cpu", "False False")])
def test_a_gpu_is_told_to_compute_repeatably_and_a_cpu_is_left_alone(device, shown):
    done = subprocess.run(
        [sys.executable, "-c", REPEATABLY, device],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == shown
