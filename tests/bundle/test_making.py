"""What a bench repaired, as base and repair: taken over, not worked out anew."""

import pytest
import torch

from chipmend.network import gemms


def test_a_base_is_the_clean_network_and_how_it_lies_on_the_chip(all_shipped, made_task):
    for name, made in all_shipped.items():
        model = made_task.model
        held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        assert made.base.tensors.keys() == held.keys()
        assert all(torch.equal(made.base.tensors[key], held[key]) for key in held)
        assert made.base.placed == {gemm.name: gemm.shapes for gemm in gemms(model)}
        assert (made.base.lowering is None) == (name in ("float", "pruned"))
        assert bool(made.base.couplings) == (name == "remapped")


@pytest.mark.parametrize("name", ["faq", "remapped", "float"])
def test_a_repair_is_what_the_bench_came_to(all_shipped, name):
    made = all_shipped[name]
    network = made.bench.network(made.recipe).state_dict()
    assert all(torch.equal(made.repair.tensors[key], network[key]) for key in network)
    assert (made.repair.bypassed == made.chip.faults.unusable).all()
    codes = made.bench.codes(made.recipe)
    assert (made.repair.codes is None) == (codes is None) == (name == "float")
    moved = made.bench.mapping(made.recipe)
    assert len(made.repair.positions) == (0 if moved is None else len(moved.positions))
