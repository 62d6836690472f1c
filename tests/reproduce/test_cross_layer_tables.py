import importlib.util
import json
import shutil
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "reproduce" / "cross_layer" / "tables.py"
FALL = {"drop": 0.0051, "error": 0.0011}


def design(name, overhead, **given):
    return {
        "name": name,
        "design": {"rows": 4, "cols": 3, "accumulator_bits": 22, **given},
        "first": 20,
        "last": 22,
        "overhead": overhead,
        "slowdown": 0.012,
        "meets": name == "found",
        "validation": FALL,
        "test": {"drop": 0.02, "error": 0.003},
        "masked": {"stuck_bits": 0.25, "columns": 0},
    }


def brought(shifts, reach, **changes):
    how = {"shifts": len(shifts), "activation_range": reach}
    bits = {"bits_of_24": 6, "bits_of_narrow": 2, "widest": 19}
    lost = {"lost_on_validation": -0.001, "lost_on_test": 0.002}
    return {"quantization": how, "shifts": list(shifts), **bits, **lost, **changes}


SHIFTED = brought((7, 8), 1.0, bits_of_24=None)
LAYER = {
    "layer": "0.weight",
    "neurons": 24,
    "spearman": 0.944,
    "spearman_of_1024": 0.88,
    "split_half": 0.9,
    "ceiling": 0.973,
}


MAP = [
    {
        "size": 32,
        "accumulator_bits": 24,
        "signs_extended": signs,
        "alone_over_full": 0.125,
        "unit_over_full": unit,
    }
    for signs, unit in ((False, 0.0625), (True, 0.25))
]


def result():
    full = design("full TMR", 4000.0, ordinary_bits=2)
    found = design("found", 500.0, sign_extension=True)
    return {
        "rows": [
            {"part": "rates vgg11", "rates": [{"loss": 0.2, "rate": 2e-6}]},
            {"part": "cells vgg11", "cells": [{"rate": 2e-6, "designs": [full, found]}]},
            {"part": "quantization vgg11", "rate": 2e-6, "rows": [brought((), 0.5), SHIFTED]},
            {"part": "correlation vgg11", "layers": [LAYER]},
        ]
    }


def write(folder):
    (folder / "protection.json").write_text(json.dumps(result()))
    (folder / "protection_map.json").write_text(json.dumps({"rows": MAP}))


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script, at work on a README of the test's own."""
    spec = importlib.util.spec_from_file_location("tables", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.copy(module.README, tmp_path / "README.md")
    monkeypatch.setattr(module, "README", tmp_path / "README.md")
    return module


def test_every_design_of_every_cell_stands_in_the_readme(script, tmp_path):
    write(tmp_path)
    script.main([str(tmp_path)])
    text = script.README.read_text()
    assert "**vgg11, 2e-06 per bit and cycle**, at which it loses 20 points unprotected:" in text
    row = "| found | signs extended | 12.5 % | 0.51 ± 0.11 | 2.00 ± 0.30 | 1.20 % | 25 % | yes |"
    assert row in text.splitlines()
    assert "| full TMR | bits 20 to 21 in PEs | 100.0 % |" in text
    script.main([str(tmp_path)])
    assert script.README.read_text() == text


def test_a_result_that_is_missing_is_told(script, tmp_path):
    with pytest.raises(
        SystemExit, match=r"protection.json is not there: run benchmarks/protection.py"
    ):
        script.main([str(tmp_path)])


@pytest.mark.parametrize(
    "row",
    [
        "| vgg11 | 0.weight | 24 | 0.94 | 0.88 | 0.90 | 0.97 |",
        "| vgg11, 2e-06 | any factor | 50 % | -0.10 | 0.20 | 6 | 2 of 19 |",
        "| vgg11, 2e-06 | 7, 8 | 100 % | -0.10 | 0.20 | not enough | 2 of 19 |",
        "| 32 x 32 | 24 | no | 12.5 % | 6.2 % |",
        "| 32 x 32 | 24 | yes | 12.5 % | none smaller found |",
    ],
)
def test_what_else_was_measured_stands_there_too(script, tmp_path, row):
    write(tmp_path)
    script.main([str(tmp_path)])
    assert row in script.README.read_text().splitlines()
