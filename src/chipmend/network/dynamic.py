"""Products of two activations, such as those of attention, where a network computes them.

The array holds their right operand, laid on the PEs anew for every sample and head: ``K^T`` of
``Q K^T``, ``V`` of ``P V``. They are met in Python, above gradients, so that what is done to that
operand is trained with; attention that is one operation, or one module, is taken apart for it.

References:
    [Vaswani2017] Vaswani et al., "Attention is all you need", NeurIPS 2017.
"""

import functools
import math
import types
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from chipmend.errors import NetworkError
from chipmend.hardware.array import Array
from chipmend.hardware.placement import WeightShape, weights_on
from chipmend.network.evaluate import evaluating

Meet = Callable[[Float[Tensor, "... m k"], Float[Tensor, "... k n"]], Float[Tensor, "... k n"]]
"""Is given the operands of a product beforehand; gives the right one that is computed with."""

_PLAIN = (
    *(torch.matmul, torch.linalg.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__),
    *(torch.bmm, torch.Tensor.bmm, torch.mm, torch.Tensor.mm),
)
_ADDED_TO = (
    *(torch.baddbmm, torch.Tensor.baddbmm, torch.Tensor.baddbmm_),
    *(torch.addmm, torch.Tensor.addmm, torch.Tensor.addmm_),
)
_OPERANDS = {**dict.fromkeys(_PLAIN, 0), **dict.fromkeys(_ADDED_TO, 1)}
"""Products, and the place of the left operand among their arguments."""
_NAMES = ("input", "other", "mat1", "mat2", "batch1", "batch2")
"""What their operands may be called where they are named, each left one before its right one."""


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention [Vaswani2017], product by product.

    Arguments and result are those of PyTorch's ``scaled_dot_product_attention``.
    """
    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
    scores = (query @ key.transpose(-2, -1)) * (scale or 1 / math.sqrt(query.shape[-1]))
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    shares = scores.softmax(-1)
    if dropout_p > 0:
        shares = functional.dropout(shares, dropout_p)
    return shares @ value


def einsum(equation: str, operands: Sequence[Tensor]) -> Tensor:
    """Einstein's sum over two tensors, as one batched product.

    Raises:
        NetworkError: It is not a product of two matrices, or of batches of them.

    Example:
        >>> x, y = torch.rand(2, 3, 4), torch.rand(2, 5, 4)
        >>> bool((einsum("bij,bkj->bik", [x, y]) == x @ y.mT).all())
        True
    """
    first, second, given = _axes_of(equation, operands)
    inner = [a for a in first if a in second and a not in given]
    batch = [a for a in first if a in second and a in given]
    of_left, of_right = ([a for a in axes if a not in batch + inner] for axes in (first, second))
    left = operands[0].permute([first.index(a) for a in batch + of_left + inner])
    right = operands[1].permute([second.index(a) for a in batch + inner + of_right])
    sizes = left.shape[: len(batch) + len(of_left)] + right.shape[len(batch) + len(inner) :]
    width = math.prod(left.shape[len(batch) + len(of_left) :])
    left = left.reshape(*left.shape[: len(batch)], -1, width)
    right = right.reshape(*right.shape[: len(batch)], width, -1)
    found = (left @ right).reshape(sizes)
    order = batch + of_left + of_right
    return found.permute([order.index(a) for a in given])


def _axes_of(equation: str, operands: Sequence[Tensor]) -> tuple[list[str], list[str], list[str]]:
    """Names of the axes of two tensors, and of those of their product."""
    taken, arrow, given = equation.replace(" ", "").partition("->")
    axes = [list(each) for each in (*taken.split(","), given)]
    plain = bool(arrow) and len(axes) == 3 == len(operands) + 1
    plain = plain and all(len({*each}) == len(each) and "." not in each for each in axes)
    if not plain or {*axes[0]} ^ {*axes[1]} != {*axes[2]} - ({*axes[0]} & {*axes[1]}):
        raise NetworkError(
            f"a product of activations written as einsum {equation!r} cannot be laid on the array",
            hint="write it as products of two matrices, with matmul",
        )
    return axes[0], axes[1], axes[2]


@dataclass(frozen=True, eq=False)
class Lost:
    """What right operands of products lose: all that lies on PEs that must not be used.

    Each product begins at the first row and column of PEs, and wraps around like a linear layer.

    Args:
        faulty: True where a PE must not be used.
        array: The array.

    Example:
        >>> faulty = np.array([[False, True], [False, False]])
        >>> Lost(faulty, Array(rows=2, cols=2))(3, 2).int().tolist()
        [[0, 1], [0, 0], [0, 1]]
    """

    faulty: Bool[np.ndarray, "rows cols"]
    array: Array

    def __call__(self, k: int, n: int) -> Bool[Tensor, "k n"]:
        """Where an operand of so many rows and columns is lost."""
        return torch.from_numpy(weights_on(self.faulty, WeightShape(n, k), self.array)).T


def lose_in_products_(network: nn.Module, lost: Lost) -> None:
    """Have a network lose operands of its products of activations whenever it is run, in place.

    Args:
        network: The network, which stays a plain module: a pair of hooks does it, and copies of the
            network have them too.
        lost: What is lost.
    """
    losing = _Losing(network, lost)
    network.register_forward_pre_hook(losing.begin)
    network.register_forward_hook(losing.end, always_call=True)


def has_dynamic_products(network: nn.Module, inputs: Tensor) -> bool:
    """Whether a network computes products of two activations.

    Args:
        network: The network; it is left as it was.
        inputs: A few inputs.
    """
    met = list[Tensor]()
    products = DynamicProducts(network, lambda _, right: met.append(right) or right)
    with evaluating(network), torch.no_grad(), products:
        network(inputs)
    return bool(met)


class DynamicProducts(TorchFunctionMode):
    """While it is entered, hands every product of two activations to ``meet`` beforehand.

    Products with weights, buffers or views of such are none: those are on the array for good, or
    taken to be healthy.

    Args:
        network: The network whose products these are.
        meet: Gives the right operand to compute with.
    """

    def __init__(self, network: nn.Module, meet: Meet) -> None:
        super().__init__()
        self._network, self._meet = network, meet
        self._stored: Collection[int] = ()

    def __enter__(self) -> "DynamicProducts":
        tensors: Iterable[Tensor] = (*self._network.parameters(), *self._network.buffers())
        self._stored = {_storage(tensor) for tensor in tensors}
        return super().__enter__()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            with self:
                return attention(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            with self:
                return _opened(func)(*args, **kwargs)
        if func is torch.einsum:
            return self._einsum(func, *args)
        if func in _OPERANDS:
            return func(*self._met(args, kwargs, _OPERANDS[func]), **kwargs)
        return func(*args, **kwargs)

    def _einsum(self, func: Any, equation: Any, *operands: Any) -> Tensor:
        tensors = operands[0] if len(operands) == 1 and not isinstance(operands[0], Tensor) else ()
        tensors = tensors or operands
        if not isinstance(equation, str) or any(map(self._is_stored, tensors)) or len(tensors) < 2:
            return func(equation, *operands)
        with self:
            return einsum(equation, tensors)

    def _met(self, args: tuple[Any, ...], kwargs: dict[str, Any], place: int) -> tuple[Any, ...]:
        """Arguments that are not named; those that are get changed in place."""
        named = [name for name in _NAMES[0 if place == 0 else 2 :] if name in kwargs]
        operands = [*args[place:], *(kwargs[name] for name in named)][:2]
        if any(map(self._is_stored, operands)):
            return args
        right = self._meet(*operands)
        if named:
            kwargs[named[-1]] = right
            return args
        return (*args[: place + 1], right, *args[place + 2 :])

    def _is_stored(self, tensor: Tensor) -> bool:
        return _storage(tensor) in self._stored


class _Losing:
    """The hooks of a network that loses operands: copied with it, they are those of the copy."""

    def __init__(self, network: nn.Module, lost: Lost) -> None:
        self._lost, self._products = lost, DynamicProducts(network, self._meet)

    def begin(self, *_: object) -> None:
        self._products.__enter__()

    def end(self, *_: object) -> None:
        self._products.__exit__(None, None, None)

    def _meet(self, left: Tensor, right: Tensor) -> Tensor:  # noqa: ARG002
        return right.masked_fill(self._lost(*right.shape[-2:]).to(right.device), 0)


def _storage(tensor: Tensor) -> int:
    """What tells where a tensor's numbers lie; views of it lie there too."""
    return tensor.untyped_storage()._cdata


@functools.cache
def _opened(function: types.FunctionType) -> types.FunctionType:
    """One of PyTorch's own functions, which calls others for the mode to see."""
    closed = {name: _never for name in function.__globals__ if name.startswith("has_torch_func")}
    within = {**function.__globals__, **closed}
    opened = types.FunctionType(function.__code__, within, function.__name__)
    opened.__defaults__, opened.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    return opened


def _never(*_: object) -> bool:
    return False
