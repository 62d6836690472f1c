"""The files that a loader gets of a bundle."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from chipmend.bundle import apply_bundle
from chipmend.bundle.applying import memory_image
from chipmend.bundle.base import read_base
from chipmend.errors import BundleError
from chipmend.hardware import WeightMemory
from chipmend.network.filling import filled


def applied(made, folder):
    base, digest = read_base(made.base_path)
    paths = apply_bundle(made.bundle, base, digest, folder)
    assert all(path.is_file() for path in paths)
    return base, {path.name for path in paths}


@pytest.mark.parametrize("name", ["float", "faq", "remapped"])
def test_weights_are_in_pytorchs_names_and_order(all_shipped, made_task, tmp_path, name):
    made = all_shipped[name]
    _, names = applied(made, tmp_path)
    codes = {"memory.bin", "network.onnx"} if name != "float" else set()
    assert names == {"network.safetensors", "bypass.csv", *codes}
    network = made_task.fresh_network()
    network.load_state_dict(load_file(tmp_path / "network.safetensors"))
    expected = made.bench.network(made.recipe).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())


def test_pes_to_bypass_are_listed(all_shipped, tmp_path):
    made = all_shipped["faq"]
    applied(made, tmp_path)
    first, *rows = (tmp_path / "bypass.csv").read_text().splitlines()
    assert first == "row,col"
    listed = np.zeros_like(made.chip.faults.unusable)
    for row in rows:
        listed[tuple(map(int, row.split(",")))] = True
    assert np.array_equal(listed, made.chip.faults.unusable)


@pytest.mark.parametrize("name", ["faq", "remapped", "compensated"])
def test_a_memory_image_is_read_as_the_codes_of_the_chip(all_shipped, made_task, tmp_path, name):
    """Bit by bit: what is stuck overrules what was written, and the rest is two's complement."""
    made = all_shipped[name]
    applied(made, tmp_path)
    image = np.frombuffer((tmp_path / "memory.bin").read_bytes(), np.uint8).astype(int)
    read = image.copy()
    for word, bit, value in made.chip.faults.stuck.listed():
        read[word] = read[word] | 1 << bit if value else read[word] & ~(1 << bit)
    values = np.where(read < 128, read, read - 256)
    sizes = filled(made_task.model, made_task.train.batch(torch.arange(4))[0], WeightMemory()).sizes
    first = 0
    for weight, count in sizes.items():
        numbers = made.repair.codes[weight].numbers
        for coupling, position in zip(made.base.couplings, made.repair.positions, strict=False):
            for moved in coupling.moved:
                if moved.name == weight:
                    numbers = moved.moved_to(numbers, position)
        lost = made.base.lost(made.repair.bypassed, ())[weight].flatten().numpy()
        here = values[first : first + count]
        assert np.array_equal(here[~lost], numbers.flatten().numpy()[~lost])
        first += count


def test_weights_that_fill_the_memory_several_times_have_no_image(all_shipped):
    made = all_shipped["faq"]
    small = replace(made.base.array, memory=WeightMemory(words=100))
    with pytest.raises(BundleError, match="100 words several times"):
        memory_image(made.repair, replace(made.base, array=small))
