"""Inputs with their targets, read by index, so that every pass and every worker sees the same.

A batch is asked for by indices; nothing here shuffles, augments or loads in the background.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from chipmend.errors import DataError


@runtime_checkable
class Samples(Protocol):
    """What a split of a data set has to offer."""

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def batch(self, indices: Int64[Tensor, " samples"]) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the samples at ``indices``, in that order."""
        ...


@runtime_checkable
class Digested(Protocol):
    """Samples that know a digest of their own, as those do that are too many to read them all."""

    def digest(self) -> str:
        """Hex digest of what the samples are."""
        ...


@dataclass(frozen=True, eq=False)
class TensorSamples:
    """Samples that lie in memory as they go into the network.

    Args:
        inputs: ``samples x ...`` network inputs.
        targets: ``samples x ...`` targets.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise DataError(
                f"{len(self.inputs)} inputs and {len(self.targets)} targets do not belong together",
                hint="give one target for every input",
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: Int64[Tensor, " samples"]) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the samples at ``indices``, in that order."""
        return self.inputs[indices], self.targets[indices]


@dataclass(frozen=True, eq=False)
class DatasetSamples:
    """Samples of a map-style ``torch.utils.data.Dataset`` whose items are (input, target).

    Args:
        dataset: Anything with a length and items of an input tensor and a target. The item at an
            index must always be the same one: random augmentation would change results.
    """

    dataset: Sequence[tuple[Any, Any]]

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Int64[Tensor, " samples"]) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the samples at ``indices``, in that order."""
        items = [self.dataset[index] for index in indices.tolist()]
        return (
            torch.stack([torch.as_tensor(item) for item, _ in items]),
            torch.stack([torch.as_tensor(target) for _, target in items]),
        )


@dataclass(frozen=True, eq=False)
class ChosenSamples:
    """Some samples of others.

    Args:
        samples: The others.
        indices: Which.
    """

    samples: Samples
    indices: Int64[Tensor, " chosen"]

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Int64[Tensor, " samples"]) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the chosen samples at ``indices``, in that order."""
        return self.samples.batch(self.indices[indices])


def as_samples(source: object, split: str) -> Samples:
    """Accept what users have: samples, a pair of tensors or arrays, or a map-style dataset.

    Args:
        source: The split.
        split: Its name, for errors.

    Returns:
        The samples, at least one.

    Raises:
        DataError: Nothing of these, or empty.
    """
    if isinstance(source, Samples):
        samples: Samples = source
    elif _is_pair(source):
        inputs, targets = source
        samples = TensorSamples(torch.as_tensor(inputs), torch.as_tensor(targets))
    elif hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        samples = DatasetSamples(source)  # pyright: ignore[reportArgumentType]
    else:
        raise DataError(
            f"the {split} split is a {type(source).__name__}",
            hint="give (inputs, targets), a map-style torch Dataset, or an object with "
            "__len__ and batch(indices)",
        )
    if len(samples) == 0:
        raise DataError(f"the {split} split is empty", hint="give at least one sample")
    return samples


def _is_pair(source: object) -> TypeGuard[Sequence[Any]]:
    """Whether it is (inputs, targets), not a list of two samples, each (input, target) itself."""
    return (
        isinstance(source, tuple | list)
        and len(source) == 2
        and not all(isinstance(item, tuple) and len(item) == 2 for item in source)
    )


def batches(
    samples: Samples, size: int, device: torch.device | str = "cpu"
) -> Iterator[tuple[Tensor, Tensor]]:
    """All samples in order on a device, ``size`` at a time; the last batch may be shorter."""
    for chunk in torch.arange(len(samples)).split(size):
        inputs, targets = samples.batch(chunk)
        yield inputs.to(device), targets.to(device)


def digest_of_samples(samples: Samples) -> str:
    """Hex digest of every input and target, in order, or what the samples give as theirs."""
    if isinstance(samples, Digested):
        return samples.digest()
    digest = hashlib.sha256(str(len(samples)).encode())
    for inputs, targets in batches(samples, 4096):
        for tensor in (inputs, targets):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(content_of(tensor))
    return digest.hexdigest()


def content_of(tensor: Tensor) -> memoryview:
    """The bytes of a tensor of any type; numpy itself has no bfloat16."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
