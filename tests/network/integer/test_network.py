"""The integer network against Python's integers, stage by stage, and against its real form."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from chipmend.network.gemm import gemms
from chipmend.network.integer.arithmetic import FixedPoint
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.network import IntegerNetwork, lowering


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def codes_of(model):
    return {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}


def real_weights(model, codes):
    """A network with the weights that the codes stand for."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for gemm in gemms(model):
            weight = codes[gemm.name]
            shape = [-1, *[1] * (gemm.weight.dim() - 1)]
            gemm.weight.copy_(weight.numbers * weight.step.view(shape))
    return model


def lively_(model):
    """Norms with statistics, factors of either sign, and biases."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.3, generator=seeded(1))
            module.running_var.uniform_(0.5, 2, generator=seeded(2))
            module.weight.data.normal_(0, 1, generator=seeded(3))
            module.bias.data.normal_(0, 0.5, generator=seeded(4))
    return model.eval()


class Small(nn.Module):
    """Every kind of stage."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.side = nn.Conv2d(6, 6, 3, padding=1, groups=3, bias=False)
        self.alone = nn.BatchNorm2d(12)
        self.last = nn.Linear(12, 5)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        y = self.side(x)
        x = functional.max_pool2d(functional.relu6(x + y), 2)
        x = torch.cat([x, y[:, :, ::2, ::2].clamp(-1, 1)], 1)
        x = self.alone(x).mean((2, 3))
        return self.last(x)


def test_every_stage_is_what_integers_say():
    model, inputs = lively_(Small()), torch.randn(20, 2, 6, 6, generator=seeded())
    codes = codes_of(model)
    lowered = lowering(model, [inputs])
    found = IntegerNetwork(lowered, model, codes)(inputs)
    by_kind = {(s.kind.name, s.operation.place): s for s in lowered.stages}
    grids = lowered.grids

    def grid(kind, place=""):
        return grids[by_kind[kind, place].result]

    def normed(norm, factor, bias):
        spread = (norm.running_var.double() + norm.eps).sqrt()
        scale = norm.weight.detach().double() / spread
        offset = (bias - norm.running_mean.double()) * scale + norm.bias.detach().double()
        return factor * scale, offset

    def whole(factor, offset):
        return (offset / factor).round() * factor

    def requantized(accumulator, factor, offset, to, largest, low=None, high=None):
        fixed = FixedPoint.of(factor / to.step, offset / to.step, largest=largest)
        m, b, s = (n.long() for n in (fixed.multiplier, fixed.offset, fixed.shift))
        shape = [1, -1, *[1] * (accumulator.dim() - 2)]
        result = (accumulator * m.view(shape) + b.view(shape)) >> s.view(shape)
        low = to.least if low is None else max(to.least, round(low / to.step))
        high = to.most if high is None else min(to.most, round(high / to.step))
        return result.clamp(low, high)

    def product(x, weight, padding, groups):
        patches = functional.pad(x, [padding] * 4).unfold(2, 3, 1).unfold(3, 3, 1)
        patches = patches.unflatten(1, (groups, -1))
        weight = weight.long().unflatten(0, (groups, -1))[None, :, :, :, None, None]
        return (patches[:, :, None] * weight).sum((3, 6, 7)).flatten(1, 2)

    taken = grids[lowered.graph.input]
    x = taken.numbers(inputs).long()
    first = codes["first.weight"]
    after_first = grid("PRODUCT", "first")
    factor, offset = normed(model.norm, first.step * taken.step, model.first.bias.detach().double())
    x = requantized(
        product(x, first.numbers, 1, 1),
        factor,
        whole(factor, offset),
        after_first,
        18 * 128 * taken.largest,
        0,
    )
    side = codes["side.weight"]
    after_side = grid("PRODUCT", "side")
    zero = torch.zeros(6).double()
    y = requantized(
        product(x, side.numbers, 1, 3), side.step * after_first.step, zero, after_side,
        18 * 128 * after_first.largest,
    )  # fmt: skip
    after_sum = grid("SUM")
    steps = torch.tensor([after_first.step, after_side.step]).double() / after_sum.step
    both = FixedPoint.together(steps, largest=after_first.largest + after_side.largest)
    (m, n), b, s = both.multiplier.long(), both.offset.long()[0], both.shift.long()[0]
    x = ((x * m + y * n + b) >> s).clamp(0, min(after_sum.most, round(6 / after_sum.step)))
    x = functional.max_pool2d(x.float(), 2).long()
    bounded = y[:, :, ::2, ::2].clamp(-round(1 / after_side.step), round(1 / after_side.step))
    after_join = grid("JOIN")
    parts = [
        requantized(
            part, torch.tensor([of.step]).double(), torch.zeros(1).double(), after_join, of.largest
        )
        for part, of in ((x, after_sum), (bounded, after_side))
    ]
    x = torch.cat(parts, 1)
    after_norm = grid("NORM", "alone")
    factor, offset = normed(model.alone, torch.full((12,), after_join.step).double(), 0.0)
    x = requantized(x, factor, offset, after_norm, after_join.largest)
    after_mean = grid("AVERAGE")
    x = requantized(
        x.sum((2, 3)), torch.tensor([after_norm.step / 9]).double(), torch.zeros(1).double(),
        after_mean, 9 * after_norm.largest,
    )  # fmt: skip
    last = codes["last.weight"]
    worth = last.step * after_mean.step
    exact = (x @ last.numbers.long().T) * worth
    assert torch.equal(found, (exact + whole(worth, model.last.bias.detach().double())).float())


@pytest.mark.parametrize("seed", range(3))
def test_it_is_near_its_real_form(seed):
    torch.manual_seed(seed)
    model, inputs = lively_(Small()), torch.randn(200, 2, 6, 6, generator=seeded(seed))
    codes = codes_of(model)
    found = IntegerNetwork(lowering(model, inputs.split(50)), model, codes)(inputs)
    with torch.no_grad():
        expected = real_weights(model, codes)(inputs)
    assert (found - expected).abs().mean() < 0.03 * expected.std()


def test_a_negative_step_turns_an_output_round():
    model, inputs = lively_(Small()), torch.randn(20, 2, 6, 6, generator=seeded())
    lowered, codes = lowering(model, [inputs]), codes_of(model)
    turned = {name: Codes(-c.numbers, -c.step) for name, c in codes.items()}
    assert torch.equal(
        IntegerNetwork(lowered, model, turned)(inputs),
        IntegerNetwork(lowered, model, codes)(inputs),
    )


def test_what_is_left_in_float_is_computed_on_real_numbers():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x):
            return functional.log_softmax(self.last(functional.gelu(self.first(x))), 1)

    model, inputs = Scaled().eval(), torch.randn(100, 6, generator=seeded())
    lowered = lowering(model, [inputs], float_allowed=True)
    with torch.no_grad():
        found, expected = IntegerNetwork(lowered, model, codes_of(model))(inputs), model(inputs)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(100))
    assert (found - expected).abs().mean() < 0.01


def test_biases_and_norms_are_those_of_the_network_given():
    model, inputs = lively_(Small()), torch.randn(20, 2, 6, 6, generator=seeded())
    lowered, codes = lowering(model, [inputs]), codes_of(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.last.bias += torch.arange(5.0)
        other.norm.bias += 0.5
    here, there = (IntegerNetwork(lowered, m, codes)(inputs) for m in (model, other))
    with torch.no_grad():
        expected = other(inputs) - model(inputs)
    assert (there - here - expected).abs().mean() < 0.05


def test_the_number_of_samples_may_change():
    model, inputs = lively_(Small()), torch.randn(20, 2, 6, 6, generator=seeded())
    network = IntegerNetwork(lowering(model, [inputs]), model, codes_of(model))
    assert torch.equal(torch.cat([network(inputs[:1]), network(inputs[1:])]), network(inputs))


def test_batches_of_one_input_are_enough_to_trace():
    model, inputs = lively_(Small()), torch.randn(4, 2, 6, 6, generator=seeded())
    network = IntegerNetwork(lowering(model, inputs.split(1)), model, codes_of(model))
    assert network(inputs).shape == (4, 5)


def test_what_is_moved_on_real_numbers_stays_whole():
    class Moved(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(2, 4, 3), nn.Linear(64, 3)

        def forward(self, x):
            x = functional.max_pool2d(self.first(x), 2, ceil_mode=True)
            x = functional.adaptive_max_pool2d(functional.interpolate(x, scale_factor=3), 4)
            return self.last(x.flatten(1))

    model, inputs = Moved().eval(), torch.randn(9, 2, 9, 9, generator=seeded())
    lowered, codes = lowering(model, [inputs]), codes_of(model)
    found = IntegerNetwork(lowered, model, codes)(inputs)
    with torch.no_grad():
        expected = real_weights(model, codes)(inputs)
    assert (found - expected).abs().mean() < 0.02 * expected.std()


def test_whole_numbers_stay_exact_where_others_are_computed_in_fewer_bits():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    ).eval()
    inputs = torch.randn(8, 4, 6, 6)
    codes = {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}
    network = IntegerNetwork(lowering(model, [inputs]), model, codes)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(inputs)
    assert torch.equal(found, network(inputs))
