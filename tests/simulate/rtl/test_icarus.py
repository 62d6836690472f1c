"""The Verilog against what was worked out by hand, and what its harness refuses."""

import numpy as np
import pytest

from chipmend.errors import FaultMapError, RtlError
from chipmend.faults import FaultMap
from chipmend.hardware import Array
from chipmend.simulate.rtl import Icarus, found_icarus, icarus, tools
from chipmend.simulate.rtl.icarus import Gemm
from simulate.golden import GOLDEN

needs_icarus = pytest.mark.skipif(not found_icarus(), reason="Icarus Verilog is not installed")


@needs_icarus
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_the_verilog_gives_what_was_worked_out_by_hand(golden):
    with Icarus(golden.array) as rtl:
        (found,) = rtl.products([golden.gemm])
    assert found.tolist() == golden.expected


def sound(rows, cols):
    return FaultMap(rows=rows, cols=cols, faulty_pes=np.zeros((rows, cols), dtype=bool))


@needs_icarus
def test_several_products_are_told_apart():
    rng = np.random.default_rng(0)
    gemms = [
        Gemm(rng.integers(-128, 128, (m, 5, 1)), rng.integers(-9, 9, (n, 5, 1)), sound(3, 2))
        for m, n in ((1, 5), (4, 1), (2, 2))
    ]
    with Icarus(Array(rows=3, cols=2)) as rtl:
        for gemm, found in zip(gemms, rtl.products(gemms), strict=True):
            assert np.array_equal(found, gemm.inputs[:, :, 0] @ gemm.weights[:, :, 0].T)
        assert rtl.products([]) == []


@needs_icarus
def test_what_does_not_fit_is_refused():
    few = np.zeros((1, 1, 1), dtype=np.int64)
    with Icarus(Array(rows=2, cols=2)) as rtl:
        with pytest.raises(FaultMapError, match="an array of 3 x 2"):
            rtl.products([Gemm(few, few, sound(3, 2))])
        with pytest.raises(RtlError, match="4097 samples"):
            rtl.products([Gemm(np.zeros((4097, 1, 1), np.int64), few, sound(2, 2))])


@needs_icarus
def test_what_icarus_says_is_passed_on(monkeypatch, tmp_path):
    wrong = tmp_path / "wrong.v"
    wrong.write_text("module testbench; nothing;")
    monkeypatch.setattr(icarus, "SOURCES", [wrong])
    with pytest.raises(RtlError, match=r"iverilog failed: .*wrong\.v"):
        Icarus(Array(rows=2, cols=2))


def test_without_icarus_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(tools, "found_icarus", lambda: False)
    with pytest.raises(RtlError, match="not installed") as caught:
        Icarus(Array(rows=2, cols=2))
    assert "apt-get install iverilog" in caught.value.hint
