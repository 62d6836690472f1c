"""How much memory a forward pass takes: what one operation holds, and what all give out."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from chipmend.network.evaluate import device_of, evaluating


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a forward pass takes for one sample, the weights left out.

    Args:
        largest: The most that one operation takes in and gives out.
        given: What all operations give out together, as a backward pass keeps it.
    """

    largest: float
    given: float


def footprint(model: nn.Module, inputs: Tensor) -> Footprint:
    """Measure what a forward pass takes.

    Args:
        model: The network; it is left as it was.
        inputs: A few inputs.

    Returns:
        What it takes for one of them.

    Example:
        >>> footprint(nn.Linear(10, 4), torch.zeros(5, 10))
        Footprint(largest=56.0, given=16.0)
    """
    sizes = _Sizes({_place(tensor) for tensor in (*model.parameters(), *model.buffers())})
    with evaluating(model), torch.no_grad(), sizes:
        model(inputs.to(device_of(model)))
    return Footprint(sizes.largest / len(inputs), sizes.given / len(inputs))


class _Sizes(TorchDispatchMode):
    """Sizes of what operations take and give, apart from views and from tensors left out."""

    def __init__(self, left_out: set[int]) -> None:
        super().__init__()
        self._left_out = left_out
        self.largest = self.given = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        taken = self._sizes((args, kwargs))
        given = {place: size for place, size in self._sizes(outputs).items() if place not in taken}
        if given:
            self.largest = max(self.largest, sum(taken.values()) + sum(given.values()))
            self.given += sum(given.values())
        return outputs

    def _sizes(self, tree: Any) -> dict[int, int]:
        tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
        sizes = {_place(t): t.numel() * t.element_size() for t in tensors}
        return {place: size for place, size in sizes.items() if place not in self._left_out}


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
