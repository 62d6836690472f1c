"""The task that a network does: the clean network, its data, and how its work is scored."""

import copy
import functools
import hashlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chipmend.errors import NetworkError
from chipmend.network.evaluate import Metric, accuracy
from chipmend.network.gemm import gemms
from chipmend.network.samples import Samples, as_samples, content_of, digest_of_samples
from chipmend.seeds import shuffled

Loss = Callable[[Tensor, Tensor], Tensor]
"""Mean loss of a batch from its outputs and targets."""


class Task:
    """A clean network with its three splits, its metric and its loss.

    Args:
        model: The clean network; it is copied, and never changed.
        train: Training split: (inputs, targets), a map-style Dataset, or samples.
        validation: Validation split, which decisions are taken on.
        test: Test split, which is read to report and for nothing else.
        metric: One score per sample from outputs and targets; its mean is called accuracy.
        loss: What retraining minimises.
        device: Where networks are run: ``cpu``, ``cuda``, ``cuda:1``.

    Raises:
        NetworkError: No layer of the network runs on the array, a weight is not finite, or there
            is no such device.
        DataError: A split is empty or of an unknown kind.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        train: object,
        validation: object,
        test: object,
        metric: Metric = accuracy,
        loss: Loss = cross_entropy,
        device: str = "cpu",
    ) -> None:
        gemms(model)
        _check_finite(model)
        self.device = _device(device)
        self.model = copy.deepcopy(model).to(self.device)
        self.train: Samples = as_samples(train, "training")
        self.validation: Samples = as_samples(validation, "validation")
        self.test: Samples = as_samples(test, "test")
        self.metric = metric
        self.loss = loss

    def fresh_network(self) -> nn.Module:
        """A copy of the clean network."""
        return copy.deepcopy(self.model)

    def calibration(self, samples: int, seed: int) -> torch.Tensor:
        """Indices of the training samples whose inputs serve to calibrate."""
        return torch.tensor(shuffled(len(self.train), seed, "calibration")[:samples])

    def digest(self) -> str:
        """Hex digest of weights, data, metric and loss: what results depend on."""
        digest = hashlib.sha256(repr(self.model).encode())
        for name, value in self.model.state_dict().items():
            digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
            digest.update(content_of(value))
        for split in (self.train, self.validation, self.test):
            digest.update(digest_of_samples(split).encode())
        for function in (self.metric, self.loss):
            digest.update(_described(function).encode())
        return digest.hexdigest()


def _described(function: object) -> str:
    """A metric or loss by name and, if it is an object with settings, by these."""
    if isinstance(function, functools.partial):
        return f"{_described(function.func)} {function.args} {sorted(function.keywords.items())}"
    name = getattr(function, "__qualname__", None)
    if name is not None:
        return f"{function.__module__}.{name}"
    plain = (bool, int, float, str, type(None))
    settings = {k: v for k, v in vars(function).items() if isinstance(v, plain)}
    tensors = function.state_dict() if isinstance(function, nn.Module) else {}
    weights = {name: hashlib.sha256(content_of(v)).hexdigest() for name, v in tensors.items()}
    return f"{_described(type(function))} {sorted(settings.items())} {weights}"


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise NetworkError(
            f"there is no device {name!r} here: {str(error).splitlines()[0]}",
            hint="give cpu, or a device that torch sees",
        ) from error


def _check_finite(model: nn.Module) -> None:
    broken = [n for n, v in model.state_dict().items() if not torch.isfinite(v.float()).all()]
    if broken:
        raise NetworkError(
            f"weights that are not finite numbers: {', '.join(broken)}",
            hint="load sound weights before repairing",
        )
