"""What all tests share: a network and data so small that training takes milliseconds."""

import os
from dataclasses import fields, is_dataclass

import pytest
import torch
from torch import nn

from chipmend.data import fashion_mnist
from chipmend.errors import DataError
from chipmend.network.task import Task


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


USERS_CACHE = os.environ.get("CHIPMEND_CACHE", "")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """No test sees or changes what the user has cached, whatever the scope of its fixtures."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CHIPMEND_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def cache_of_the_test(tmp_path_factory, monkeypatch):
    """No test sees what another one has cached."""
    monkeypatch.setenv("CHIPMEND_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def real():
    """The real data set, from wherever this machine has it or can have it from; it is cached."""
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("CHIPMEND_CACHE", USERS_CACHE)
            return fashion_mnist()
    except DataError as error:
        pytest.skip(f"Fashion-MNIST cannot be had: {error.message}")


def tiny_network() -> nn.Module:
    """Two convolutions with a batch norm, for pictures of 1 x 6 x 6 in three classes."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 3),
    )


def tiny_split(samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures whose class is the third of the picture that is brightest."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 3, (samples,), generator=generator)
    pictures = torch.randn(samples, 1, 6, 6, generator=generator)
    for target in range(3):
        pictures[targets == target, :, :, 2 * target : 2 * target + 2] += 0.8
    return pictures, targets


def tiny_task(network: nn.Module | None = None) -> Task:
    """A trained tiny network with its splits; the same in every process."""
    torch.set_num_threads(1)
    train, validation, test = tiny_split(256, 1), tiny_split(128, 2), tiny_split(128, 3)
    network = network or tiny_network()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(train[0]), train[1]).backward()
        optimizer.step()
    return Task(network.eval(), train=train, validation=validation, test=test)


@pytest.fixture(scope="session")
def task() -> Task:
    return tiny_task()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    """What a network holds now, safe from what becomes of it."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other) -> bool:
    """Whether two records of tensors, nested at will, hold the same."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)
        )
    return one == other
