import pytest

from chipmend.protect.circuit import found_yosys, synthesized, table
from chipmend.protect.circuit.areas import PARTS, area, fitted, sources_digest
from chipmend.protect.circuit.yosys import Synthesized

GIVEN = {"WEIGHT_BITS": 8, "BITS": 24}


def test_the_table_is_of_the_verilog_that_is_here():
    import json

    from chipmend.protect.circuit.areas import TABLE

    assert json.loads(TABLE.read_bytes())["verilog"] == sources_digest(), (
        "run benchmarks/areas.py after changing Verilog"
    )


@pytest.mark.skipif(not found_yosys(), reason="Yosys is not installed")
@pytest.mark.parametrize(
    ("part", "given"),
    [
        ("pe", {**GIVEN, "FIRST": 15, "LAST": 20, "CONE": 0}),
        ("pe", {**GIVEN, "BITS": 22, "FIRST": 22, "LAST": 22, "CONE": 0}),
        ("pe_cone", {**GIVEN, "FIRST": 18, "LAST": 24, "CONE": 1}),
        ("lane", {**GIVEN, "FIRST": 0, "LAST": 24, "CONE": 0}),
        ("column_end", {"BITS": 24, "NARROWEST": 13}),
        ("dppu_end", {"BITS": 22}),
        ("parity", {}),
        ("ecc", {}),
    ],
)
def test_areas_are_those_of_synthesis_within_the_error_that_is_told(part, given):
    """At points that the fit has not seen, too."""
    exact = synthesized(PARTS[part].module, given).transistors
    assert area(part, **given) == pytest.approx(exact, rel=table()[part].error + 0.01)


def test_adders_and_registers_are_told_to_be_exact_about_and_cones_within_a_tenth():
    assert table()["pe"].error < 0.005
    assert table()["lane"].error < 0.005
    assert 0.005 < table()["pe_cone"].error < 0.1


def test_a_fit_finds_a_linear_law_again():
    def linear(module, given):
        assert module == "column_end"
        return Synthesized(0, 7 + 3 * (given["BITS"] - given["NARROWEST"]))

    fit = fitted("column_end", linear)
    assert fit.factors == pytest.approx((7, 3))
    assert fit.error < 1e-6
    assert fit.points == 15


def test_protection_grows_with_bits_and_the_cone_is_far_dearer():
    adders = [area("pe", **GIVEN, FIRST=24 - k, LAST=24) for k in range(25)]
    cones = [area("pe_cone", **GIVEN, FIRST=24 - k, LAST=24) for k in range(25)]
    assert adders == sorted(adders)
    assert cones[4] - cones[0] > 8 * (adders[4] - adders[0])
    assert adders[0] == pytest.approx(cones[0], rel=0.05)
