import pytest

from chipmend.errors import MissingExtraError, RtlError
from chipmend.protect.circuit import yosys
from chipmend.protect.circuit.yosys import Synthesized, counted, found_yosys, synthesized

needs_yosys = pytest.mark.skipif(not found_yosys(), reason="Yosys is not installed")


@needs_yosys
def test_copies_are_not_merged_into_one(monkeypatch, tmp_path):
    """A full adder of two XORs and a majority, a flip-flop, and a voter: counted by hand."""
    monkeypatch.setenv("CHIPMEND_CACHE", str(tmp_path))
    bare, guarded = (
        synthesized("accumulate", {"BITS": 8, "FIRST": first, "LAST": 8}) for first in (8, 3)
    )
    one, voter = synthesized("bit_cell", {}), synthesized("voter", {})
    assert one.cells == pytest.approx(6, abs=1)
    assert one.transistors == pytest.approx(24 + 2 * 10 + 12, abs=4)
    assert bare.transistors == pytest.approx(8 * one.transistors, abs=40)  # no carry at either end
    more = guarded.transistors - bare.transistors
    assert more == pytest.approx(5 * (2 * one.transistors + voter.transistors), abs=60)


@needs_yosys
def test_what_is_known_is_not_synthesized_again(monkeypatch, tmp_path):
    monkeypatch.setenv("CHIPMEND_CACHE", str(tmp_path))
    first = synthesized("parity", {})
    monkeypatch.setattr(yosys, "_cells", lambda *_: pytest.fail("synthesized again"))
    assert synthesized("parity", {}) == first
    (kept,) = tmp_path.glob("areas/*.json")
    kept.write_text("{")
    monkeypatch.setattr(yosys, "_cells", lambda *_: [("$_NOT_", 3)])
    assert synthesized("parity", {}) == Synthesized(3, 6)


@needs_yosys
def test_what_yosys_does_not_take_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("CHIPMEND_CACHE", str(tmp_path))
    with pytest.raises(RtlError, match="Yosys failed"):
        synthesized("no_such_module", {})


def test_without_yosys_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CHIPMEND_CACHE", str(tmp_path))
    monkeypatch.setattr(yosys.shutil, "which", lambda _: None)
    monkeypatch.setattr(yosys, "find_spec", lambda _: None)
    assert not found_yosys()
    with pytest.raises(MissingExtraError, match=r"chipmend\[rtl\]"):
        synthesized("pe", {})


def test_cells_of_unknown_kinds_are_refused():
    with pytest.raises(RtlError, match="LUT"):
        counted([("$_NOT_", 1), ("$_LUT_", 2)])
