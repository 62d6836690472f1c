"""Values on their way through a network; what carries out stages is in test_network.py."""

import torch

from chipmend.network.integer.grids import Grid
from chipmend.network.integer.units import Values

GRIDS = {"a": Grid(0.5, signed=True), "b": Grid(0.25, signed=False)}


def test_values_are_whole_or_real_as_is_asked():
    values = Values(GRIDS)
    values.put("a", torch.tensor([0.74, 0.76, -99.0]), whole=False)
    assert values.whole("a").tolist() == [1, 2, -128]
    assert values.real("a").tolist() == torch.tensor([0.74, 0.76, -99.0]).tolist()
    values.put("b", torch.tensor([3, 255], dtype=torch.uint8), whole=True)
    assert values.real("b").tolist() == [0.75, 63.75]


def test_what_is_put_beside_a_copy_or_dropped_from_it_leaves_the_others_alone():
    values = Values(GRIDS)
    values.put("b", torch.tensor([3], dtype=torch.uint8), whole=True)
    other = values.copy()
    other.drop("b")
    other.put("b", torch.tensor([9], dtype=torch.uint8), whole=True)
    assert other.real("b").tolist() == [2.25]
    assert values.real("b").tolist() == [0.75]
