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


def result():
    full = design("full TMR", 4000.0, ordinary_bits=2)
    found = design("found", 500.0, sign_extension=True)
    return {
        "rows": [
            {"part": "rates vgg11", "rates": [{"loss": 0.2, "rate": 2e-6}]},
            {"part": "cells vgg11", "cells": [{"rate": 2e-6, "designs": [full, found]}]},
            {"part": "quantization vgg11"},
        ]
    }


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
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result()))
    script.main([str(path)])
    text = script.README.read_text()
    assert "**vgg11, 2e-06 per bit and cycle**, at which it loses 20 points unprotected:" in text
    row = "| found | signs extended | 12.5 % | 0.51 ± 0.11 | 2.00 ± 0.30 | 1.20 % | 25 % | yes |"
    assert row in text.splitlines()
    assert "| full TMR | bits 20 to 21 in PEs | 100.0 % |" in text
    script.main([str(path)])
    assert script.README.read_text() == text


def test_a_result_that_is_missing_is_told(script, tmp_path):
    with pytest.raises(SystemExit, match=r"none.json is not there: run benchmarks/protection.py"):
        script.main([str(tmp_path / "none.json")])
