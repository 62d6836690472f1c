"""What differs from the base is all that is written, and with the base gives the network again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import chipmend as cm
from bundle.shipped import RECIPES
from chipmend.bundle import read_base, read_bundle
from chipmend.errors import BundleError
from conftest import same


@pytest.mark.parametrize("name", RECIPES)
def test_the_network_that_is_read_is_the_one_that_was_written(all_shipped, name):
    made = all_shipped[name]
    base, digest = read_base(made.base_path)
    found = read_bundle(made.bundle.path).repair(base, digest)
    assert same(dict(found.tensors), dict(made.repair.tensors))
    assert (found.codes is None) == (made.repair.codes is None)
    for weight, codes in (made.repair.codes or {}).items():
        assert torch.equal(found.codes[weight].numbers, codes.numbers)
        assert torch.equal(found.codes[weight].step, codes.step)
    assert np.array_equal(found.bypassed, made.chip.faults.unusable)
    assert len(found.positions) == len(made.repair.positions)
    for one, other in zip(found.positions, made.repair.positions, strict=True):
        assert np.array_equal(one, other)


def test_a_bundle_is_smaller_than_a_copy(all_shipped):
    sizes = {name: made.bundle.size for name, made in all_shipped.items()}
    for name, made in all_shipped.items():
        coded = sum(c.numbers.numel() for c in (made.repair.codes or {}).values())
        others = sum(t.numel() for t in made.repair.tensors.values()) - coded
        assert sizes[name].full == coded + 4 * others
        assert sizes[name].bytes == (made.bundle.path / "delta.safetensors").stat().st_size


def test_what_does_not_fit_its_base_is_refused(all_shipped):
    made = all_shipped["remapped"]
    base, digest = read_base(made.base_path)
    other = replace(base, array=cm.Array(rows=60, cols=50))
    with pytest.raises(BundleError, match="where the array has 3000"):
        made.bundle.repair(other, digest)
    with pytest.raises(BundleError, match="couplings"):
        made.bundle.repair(replace(base, couplings=base.couplings[:0]), digest)
    more = {**base.tensors, "0.weight": torch.zeros(9, 1, 3, 3)}
    with pytest.raises(BundleError):
        made.bundle.repair(replace(base, tensors=more), digest)
