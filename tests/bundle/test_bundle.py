"""A bundle says what it is, byte by byte the same, for the chip that it was made for alone."""

import json
from dataclasses import replace

import pytest

from bundle.shipped import shipped
from chipmend.bundle import read_bundle
from chipmend.errors import BundleError


def test_the_manifest_says_what_it_is_for(all_shipped):
    made = all_shipped["faq"]
    manifest = json.loads((made.bundle.path / "manifest.json").read_bytes())
    assert manifest["chip"] == {"id": "chip/faq", "lot": "L1", "wafer": "W2", "x": -1, "y": 4}
    assert manifest["faults"] == made.chip.faults.digest()
    assert manifest["base"] == made.base_digest
    assert manifest["accuracy"] == made.bench.test(made.recipe).mean()
    assert manifest["in_codes"] is True
    found = read_bundle(made.bundle.path)
    assert found == made.bundle
    assert found.steps == made.recipe


def test_the_same_inputs_give_the_same_bytes(all_shipped, made_task, tmp_path):
    for name in ("remapped", "float"):
        again = shipped(name, tmp_path, made_task)
        for old in sorted(all_shipped[name].bundle.path.iterdir()):
            assert (again.bundle.path / old.name).read_bytes() == old.read_bytes()
        for old in sorted(all_shipped[name].base_path.iterdir()):
            assert (again.base_path / old.name).read_bytes() == old.read_bytes()


def test_another_chip_and_another_map_of_the_chip_are_refused(all_shipped):
    made = all_shipped["faq"]
    made.bundle.check_is_for(made.chip)
    with pytest.raises(BundleError, match="is for chip chip/faq, not for chip/live"):
        made.bundle.check_is_for(all_shipped["live"].chip)
    again = replace(made.chip, faults=replace(made.chip.faults, dead_cols=(1,), version=2))
    with pytest.raises(BundleError, match=r"version 1, where the lot has \w{16}, version 2"):
        made.bundle.check_is_for(again)
    made.bundle.check_is_for(replace(made.chip, faults=replace(made.chip.faults, version=2)))
