"""The task that a network does: the clean network, its data, and how its work is scored."""

import copy
import hashlib
import logging
from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parameter import is_lazy

from chipmend.errors import ChipmendError, DataError, NetworkError
from chipmend.network.description import digest_of_behaviour
from chipmend.network.evaluate import Metric, accuracy, checked_scores, evaluating
from chipmend.network.gemm import assumed_healthy, gemms
from chipmend.network.processor import compute_repeatably_on
from chipmend.network.samples import Samples, TensorSamples, as_samples, digest_of_samples
from chipmend.network.tensors import give_
from chipmend.seeds import shuffled
from chipmend.steps import LEAST_SAMPLES

logger = logging.getLogger(__name__)

Loss = Callable[[Tensor, Tensor], Tensor]
"""Mean loss of a batch from its outputs and targets."""


class Task:
    """A clean network with its three splits, its metric and its loss.

    Args:
        model: The clean network; it is copied, and never changed.
        train: Training split: (inputs, targets), a map-style Dataset, or samples.
        validation: Validation split, which decisions are taken on.
        test: Test split, which is read to report and for nothing else.
        calibration: Inputs that closed-form repair learns from, without labels: a tensor or an
            array; by default those of the training split.
        metric: One score per sample from outputs and targets; its mean is called accuracy.
        loss: What retraining minimises.
        device: Where networks are run: ``cpu``, ``cuda``, ``cuda:1``.

    Raises:
        NetworkError: No layer of the network runs on the array, a weight is not finite, or there
            is no such device.
        DataError: A split is empty, of an unknown kind, or does not go through the network.
        MetricError: The metric gives something other than one finite number per sample.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        train: object,
        validation: object,
        test: object,
        calibration: object = None,
        metric: Metric = accuracy,
        loss: Loss = cross_entropy,
        device: str = "cpu",
    ) -> None:
        if not isinstance(model, nn.Module):
            raise NetworkError(f"{model!r} is no network", hint="give a torch.nn.Module")
        gemms(model)
        _check_finite(model)
        if healthy := assumed_healthy(model):
            logger.warning("not placed on the array, taken to be healthy: %s", ", ".join(healthy))
        self.device = _device(device)
        compute_repeatably_on(self.device)
        self.model = copy.deepcopy(model).to(self.device)
        self.train: Samples = as_samples(train, "training")
        self.validation: Samples = as_samples(validation, "validation")
        self.test: Samples = as_samples(test, "test")
        self.calibrating = self.train if calibration is None else _as_calibrating(calibration)
        self.metric = metric
        self.loss = loss
        self._try()

    def fresh_network(self) -> nn.Module:
        """A copy of the clean network."""
        return copy.deepcopy(self.model)

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> "Task":
        """The same task, done by a network of the same layers with other weights."""
        task = copy.copy(self)
        task.model = self.fresh_network()
        give_(task.model, tensors)
        return task

    def calibration(self, samples: int, seed: int) -> torch.Tensor:
        """Indices of the calibrating samples whose inputs are used, at most so many."""
        return torch.tensor(shuffled(len(self.calibrating), seed, "calibration")[:samples])

    def estimation(self, samples: int, seed: int) -> torch.Tensor:
        """Indices of the training samples on which norms are estimated anew, at most so many."""
        return torch.tensor(shuffled(len(self.train), seed, "calibration")[:samples])

    def look_order(self, seed: int) -> Int64[np.ndarray, " samples"]:
        """Indices of the validation samples in the order in which looks see them."""
        return np.array(shuffled(len(self.validation), seed, "looks"))

    def digest(self) -> str:
        """Hex digest of network, data, metric and loss: what results depend on."""
        digest = hashlib.sha256(digest_of_behaviour(self.model).encode())
        for split in (self.train, self.validation, self.test, self.calibrating):
            digest.update(digest_of_samples(split).encode())
        for function in (self.metric, self.loss):
            digest.update(digest_of_behaviour(function).encode())
        return digest.hexdigest()

    def _try(self) -> None:
        """Run two samples of each split, so that what does not fit is told before any work."""
        splits = {"training": self.train, "validation": self.validation, "test": self.test}
        self._try_calibrating()
        for name, split in splits.items():
            two = torch.arange(len(split))[:2]
            try:
                inputs, targets = split.batch(two)
                with evaluating(self.model), torch.inference_mode():
                    outputs = self.model(inputs.to(self.device))
                    _check_outputs(name, outputs)
                    self._score(name, outputs, targets.to(self.device))
            except ChipmendError:
                raise
            except Exception as error:  # whatever a network of the user's does with the wrong data
                raise DataError(
                    f"the {name} split does not go through network, metric and loss: "
                    f"{type(error).__name__}: {str(error).splitlines()[0]}",
                    hint="check sizes and types of inputs and targets (float32 inputs, int64 "
                    "class indices), and what the metric and the loss take",
                ) from error

    def _try_calibrating(self) -> None:
        if self.calibrating is self.train:
            return
        inputs = self.calibrating.batch(torch.arange(2))[0]
        try:
            with evaluating(self.model), torch.inference_mode():
                self.model(inputs.to(self.device))
        except Exception as error:  # as below
            raise DataError(
                f"calibration inputs of {tuple(inputs.shape[1:])} do not go through the network: "
                f"{type(error).__name__}: {str(error).splitlines()[0]}",
                hint="give inputs of the size and type of the training split's",
            ) from error

    def _score(self, split: str, outputs: Tensor, targets: Tensor) -> None:
        checked_scores(self.metric(outputs, targets), len(targets))
        if split == "training":
            self.loss(outputs, targets).item()


def _as_calibrating(inputs: object) -> Samples:
    """Calibration inputs as samples without targets.

    Raises:
        DataError: They are no tensor, too few, or not finite.
    """
    try:
        held = torch.as_tensor(inputs)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the calibration inputs are a {type(inputs).__name__}",
            hint="give a tensor or an array of inputs, samples first",
        ) from error
    if held.dim() == 0 or len(held) < LEAST_SAMPLES:
        raise DataError(
            f"{len(held) if held.dim() else 0} calibration inputs are too few",
            hint=f"give at least {LEAST_SAMPLES}; a few hundred already repair well",
        )
    if held.is_floating_point() and not torch.isfinite(held).all():
        raise DataError(
            "calibration inputs that are not finite numbers", hint="leave out or clean those inputs"
        )
    return TensorSamples(held, torch.zeros(len(held), dtype=torch.long))


def _check_outputs(split: str, outputs: object) -> None:
    if isinstance(outputs, Tensor) and not torch.isfinite(outputs).all():
        raise DataError(
            f"the network gives no finite numbers on the {split} split",
            hint="check that its inputs are finite, and scaled as in training",
        )


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise NetworkError(
            f"there is no device {name!r} here: {str(error).splitlines()[0]}",
            hint="give cpu, or a device that torch sees",
        ) from error


def _check_finite(model: nn.Module) -> None:
    held = [*model.named_parameters(), *model.named_buffers()]
    lazy = [name for name, value in held if is_lazy(value)]
    if lazy:
        raise NetworkError(
            f"weights that have no size yet: {', '.join(lazy)}",
            hint="run one batch through the network before repairing",
        )
    broken = [name for name, value in held if not torch.isfinite(value).all()]
    if broken:
        raise NetworkError(
            f"weights that are not finite numbers: {', '.join(broken)}",
            hint="load sound weights before repairing",
        )
