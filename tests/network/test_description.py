import functools
import itertools
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, relu

from chipmend.errors import NetworkError
from chipmend.network.description import digest_of_behaviour

SCALE = 2.0


class Scaled(nn.Module):
    def __init__(self, scale=1.0, width=3):
        super().__init__()
        self.scale, self.layer = scale, nn.Linear(2, width)
        nn.init.constant_(self.layer.weight, 0.5)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x):
        return self.layer(x) * self.scale


class Squared(Scaled):
    def forward(self, x):
        return self.layer(x) ** 2


class Top:
    """A metric with settings."""

    def __init__(self, among):
        self.among = among

    def __call__(self, outputs, targets):
        return (outputs.topk(self.among).indices == targets[:, None]).any(1).float()

    def other(self, outputs, targets):
        return self(outputs, targets) * 0.5


@dataclass(frozen=True, slots=True)
class Slotted:
    amount: float


def smoothed(amount):
    return lambda outputs, targets: cross_entropy(outputs, targets, label_smoothing=amount)


def by_default(outputs, targets, among=1):
    return (outputs.topk(among).indices == targets[:, None]).any(1).float()


def by_other_default(outputs, targets, among=2):
    return (outputs.topk(among).indices == targets[:, None]).any(1).float()


def by_helper(x):
    return helper(x)


def helper(x):
    return x * SCALE


def tied(share):
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    nn.init.ones_(first.weight)
    nn.init.ones_(second.weight)
    if share:
        second.weight = first.weight
    return nn.Sequential(first, second)


def hooked(amount):
    model = nn.Linear(2, 2)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    model.register_forward_hook(lambda _module, _inputs, outputs: outputs * amount)
    return model


UNLIKE = [
    *(smoothed(amount) for amount in (0.0, 0.5)),
    lambda outputs, targets: outputs[:, 0],
    lambda outputs, targets: outputs[:, 1],
    lambda outputs, targets: -outputs[:, 0],
    Top(1),
    Top(2),
    Top([1]),
    Top(torch.arange(3)),
    Top(torch.arange(3.0)),
    Top(np.arange(3)),
    Top(np.array([None, "a"])),
    Top({1, 2}),
    Top({1: 2}),
    Top(float("inf")),
    Top(None),
    Top(Top(1)),
    Top(1).other,
    Top(2).other,
    by_default,
    by_other_default,
    functools.partial(by_default, among=3),
    functools.partial(by_default, among=torch.zeros(2000)),
    functools.partial(by_default, among=torch.ones(2000)),
    Scaled(1.0),
    Scaled(-1.0),
    Scaled(1.0, width=4),
    Squared(1.0),
    Scaled(1.0).double(),
    Scaled(1.0).requires_grad_(False),
    tied(True),
    tied(False),
    hooked(1.0),
    hooked(2.0),
    Slotted(1.0),
    Slotted(2.0),
    cross_entropy,
    relu,
    torch.relu,
    nn.functional.max_pool1d,
    nn.functional.max_pool2d,
    np.sin,
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss(label_smoothing=0.1),
    nn.CrossEntropyLoss(weight=torch.ones(3)),
    nn.CrossEntropyLoss(weight=torch.zeros(3)),
    nn.BatchNorm2d(3),
    nn.BatchNorm2d(3, eps=1e-3),
    nn.Conv2d(1, 1, 1, stride=2).weight.new_zeros(3),
    torch.float32,
    torch.float64,
]


def test_no_two_things_that_differ_have_one_digest():
    digests = [digest_of_behaviour(thing) for thing in UNLIKE]
    for (one, first), (other, second) in itertools.combinations(
        zip(UNLIKE, digests, strict=True), 2
    ):
        assert first != second, (one, other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: smoothed(0.5),
        lambda: Top([1, {2, 3}, torch.arange(3)]),
        lambda: Top(1).other,
        lambda: Scaled(2.0),
        lambda: Scaled(2.0).train(),
        lambda: hooked(2.0),
        lambda: functools.partial(by_default, among=3),
        lambda: Slotted(1.0),
        lambda: Scaled(2.0).layer.weight.t().contiguous().t(),
    ],
)
def test_things_made_alike_have_one_digest(make):
    assert digest_of_behaviour(make()) == digest_of_behaviour(make())


def test_recurrent_networks_are_told_apart_by_their_weights():
    first, alike, other = (nn.LSTM(3, 2) for _ in range(3))
    alike.load_state_dict(first.state_dict())
    digests = [digest_of_behaviour(model) for model in (first, alike, other)]
    assert digests[0] == digests[1] != digests[2]


def test_neither_mode_nor_memory_layout_counts():
    plain, other = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)
    other.load_state_dict(plain.state_dict())
    other.eval().to(memory_format=torch.channels_last)
    assert digest_of_behaviour(plain) == digest_of_behaviour(other)


def test_what_a_function_calls_and_looks_up_counts(monkeypatch):
    before = digest_of_behaviour(by_helper)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert digest_of_behaviour(by_helper) != before
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    assert digest_of_behaviour(by_helper) == before
    monkeypatch.setitem(globals(), "helper", lambda x: x)
    assert digest_of_behaviour(by_helper) != before


def test_a_changed_method_counts(monkeypatch):
    before = digest_of_behaviour(Top(1)), digest_of_behaviour(Scaled())
    monkeypatch.setattr(Top, "__call__", lambda self, outputs, targets: outputs[:, 0])
    monkeypatch.setattr(Scaled, "forward", lambda self, x: self.layer(x))
    after = digest_of_behaviour(Top(1)), digest_of_behaviour(Scaled())
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_things_that_hold_themselves_come_to_an_end():
    one, other = Top(1), Top(1)
    one.among, other.among = one, [other]
    assert digest_of_behaviour(one) != digest_of_behaviour(other)


def test_what_cannot_be_told_apart_is_refused_by_name():
    with pytest.raises(NetworkError, match="lock"):
        digest_of_behaviour(Top(threading.Lock()))


IN_A_PROCESS = """
import sys; sys.path[:0] = sys.argv[1:]
import network.test_description as t
print(*[t.digest_of_behaviour(thing) for thing in t.UNLIKE])
"""


@pytest.mark.parametrize("flags", [(), ("-B",)])
def test_digests_are_the_same_in_other_processes(flags):
    """Those of a module compiled there, and of one loaded as compiled before."""
    tests = str(Path(__file__).parents[1])
    shown = {
        subprocess.run(
            [sys.executable, *flags, "-c", IN_A_PROCESS, tests],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(shown) == 1
    assert len(shown.pop().split()) == len(UNLIKE)
