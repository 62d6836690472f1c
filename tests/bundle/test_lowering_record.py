"""How a network is carried out in integers, as JSON and back; nothing else is ever called."""

import json
import re
import shutil

import pytest
import torch
from torch import nn
from torch.nn import functional

import chipmend as cm
from bundle.altered import altered
from chipmend.bundle import read_base
from chipmend.bundle.lowering_record import lowering_of, record_of
from chipmend.errors import BundleError
from chipmend.network import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.network import IntegerNetwork, lowering


def test_a_base_that_calls_what_it_may_not_is_refused(all_shipped, tmp_path):
    folder = shutil.copytree(all_shipped["faq"].base_path, tmp_path / "base")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for operator, given, said in (
        ("relu_.default", [["self", {"value": "input"}]], "no operator of layers"),
        ("prims::copy_to.default", [], "no operator of layers"),
        ("nothing.default", [], "no operator of layers"),
        ("from_file.default", [["filename", "/etc/passwd"]], "gives an operator '/etc/passwd'"),
        ("relu.default", [["self", {"dtype": "load"}]], "gives an operator"),
        ("relu.default", [["self", {"value": 7}]], "gives an operator"),
    ):
        record = dict(manifest["lowering"])
        first = {**record["operations"][0], "operator": operator, "given": given}
        record["operations"] = [first, *record["operations"][1:]]
        altered(folder, reseal=True, lowering=record)
        with pytest.raises(BundleError, match=re.escape(said)):
            read_base(folder)


class Attending(nn.Module):
    """Operators of every kind that a transformer brings along."""

    def __init__(self):
        super().__init__()
        self.take_in, self.own = nn.Linear(4, 6), nn.Parameter(torch.randn(1, 5, 6))
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.norm, self.last = nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.take_in(x) + self.own
        x = x + self.attention(x, x, x)[0]
        return self.last(functional.gelu(self.norm(x), approximate="tanh").mean(1))


NETWORKS = {
    "attention": (Attending, (5, 4)),
    "resnet18": (lambda: cm.resnet18(width=1 / 16), (3, 32, 32)),
    "mobilenet_v2": (lambda: cm.mobilenet_v2(width=1 / 16), (3, 32, 32)),
    "vit": (lambda: cm.vit(width=1 / 16), (3, 32, 32)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_json_gives_back_computes_the_same(name):
    torch.manual_seed(0)
    make, sizes = NETWORKS[name]
    model, inputs = make().eval(), torch.randn(8, *sizes)
    codes = {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}
    lowered = lowering(model, [inputs])
    record = json.loads(json.dumps(record_of(lowered)))
    found = lowering_of(record, lowered.graph.constants, [*codes])
    assert found.stages == lowered.stages
    assert dict(found.grids) == dict(lowered.grids)
    one, other = (IntegerNetwork(each, model, codes) for each in (lowered, found))
    assert torch.equal(one(inputs), other(inputs))


def test_what_stays_in_float_is_kept_too():
    """Places that are made in every pass, causal attention and padding."""

    class Causal(Attending):
        def forward(self, x):
            x = functional.pad(self.take_in(x), (0, 0, 0, 1)) + torch.ones(6)
            x = functional.scaled_dot_product_attention(x, x, x, is_causal=True)
            return self.last(x.mean(1))

    torch.manual_seed(0)
    model, inputs = Causal().eval(), torch.randn(8, 5, 4)
    codes = {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}
    lowered = lowering(model, [inputs], float_allowed=True)
    record = json.loads(json.dumps(record_of(lowered)))
    found = lowering_of(record, lowered.graph.constants, [*codes])
    one, other = (IntegerNetwork(each, model, codes) for each in (lowered, found))
    assert torch.equal(one(inputs), other(inputs))
