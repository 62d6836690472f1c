"""Products of two activations, such as those of attention, where a network computes them.

The array holds their right operand, laid on the PEs anew for every sample and head: ``K^T`` of
``Q K^T``, ``V`` of ``P V``. They are met in Python, above gradients, so that what is done to that
operand is trained with; attention that is one operation, or one module, is taken apart for it.

References:
    [Vaswani2017] Vaswani et al., "Attention is all you need", NeurIPS 2017.
"""

import functools
import inspect
import math
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from chipmend.errors import NetworkError
from chipmend.hardware.array import Array
from chipmend.hardware.placement import WeightShape, weights_on
from chipmend.network.einsums import as_product
from chipmend.network.evaluate import evaluating

Meet = Callable[[Float[Tensor, "... m k"], Float[Tensor, "... k n"]], Float[Tensor, "... k n"]]
"""Is given the operands of a product beforehand; gives the right one that is computed with."""

_PRODUCTS = {
    *(torch.matmul, torch.linalg.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__),
    *(torch.bmm, torch.Tensor.bmm, torch.mm, torch.Tensor.mm),
}
_RIGHT = ("other", "mat2")
"""What the right operand may be called where it is named."""
_ADDED_TO = {
    **dict.fromkeys((torch.baddbmm, torch.Tensor.baddbmm, torch.Tensor.baddbmm_), "batch"),
    **dict.fromkeys((torch.addmm, torch.Tensor.addmm, torch.Tensor.addmm_), "mat"),
}
"""Products that are added to something, and what their operands are called."""
_UNKNOWN = {
    *(torch.tensordot, torch.inner, torch.Tensor.inner, torch.mv, torch.Tensor.mv),
    *(torch.chain_matmul, torch.linalg.multi_dot, torch.addbmm, torch.Tensor.addbmm),
    *(torch.addmv, torch.Tensor.addmv, torch.linalg.vecdot, torch.dot, torch.Tensor.dot),
    *(torch.cdist, functional.bilinear),
}
"""Other products, which no one lays on the array."""


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
        key, value = (_for_groups(held, query.shape[-3]) for held in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query @ key.transpose(-2, -1)) * scale
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    shares = scores.softmax(-1)
    if attn_mask is not None:  # who sees nobody takes nothing
        shares = shares.masked_fill((scores == -math.inf).all(-1, keepdim=True), 0.0)
    if dropout_p > 0:
        shares = functional.dropout(shares, dropout_p)
    return shares @ value


def _for_groups(held: Tensor, heads: int) -> Tensor:
    """Keys or values of fewer heads, each for as many heads of queries."""
    *before, own, tokens, size = held.shape
    each = held.unsqueeze(-3).expand(*before, own, heads // own, tokens, size)
    return each.reshape(*before, heads, tokens, size)


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
        network: The network, which stays a plain module; copies and pickles of it lose them too.
            Gradient checkpointing, which runs parts of it by themselves, does not go with it.
        lost: What is lost.
    """
    before = network.__dict__.get("forward")
    inner = before.inner if isinstance(before, _Losing) else before
    network.forward = _Losing(network, lost, inner)


class _Losing:
    """The forward pass of a network that loses operands."""

    def __init__(self, network: nn.Module, lost: Lost, inner: Callable[..., Any] | None) -> None:
        self._network, self._lost, self.inner = network, lost, inner

    @property
    def __signature__(self) -> inspect.Signature:
        bound = self.inner or types.MethodType(type(self._network).forward, self._network)
        return inspect.signature(bound)

    @property
    def __code__(self) -> types.CodeType:
        return (self.inner or type(self._network).forward).__code__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with DynamicProducts(self._network, self._meet):
            if self.inner is not None:
                return self.inner(*args, **kwargs)
            return type(self._network).forward(self._network, *args, **kwargs)

    def _meet(self, left: Tensor, right: Tensor) -> Tensor:  # noqa: ARG002
        return right.masked_fill(self._lost(*right.shape[-2:]).to(right.device), 0)


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

    What does not depend on the network's input is no activation: parameters, buffers, and what is
    computed of these alone. Products with such are on the array for good, or taken to be healthy.

    Args:
        network: The network whose products these are.
        meet: Gives the right operand to compute with.

    Raises:
        NetworkError: From within, a product of activations that cannot be laid on the array.
    """

    def __init__(self, network: nn.Module, meet: Meet) -> None:
        super().__init__()
        self._network, self._meet, self._depth = network, meet, 0
        self._own = WeakTensorKeyDictionary()

    def __enter__(self) -> "DynamicProducts":
        if self._depth == 0:
            self._own = WeakTensorKeyDictionary()
            self._note_own()
            # tracing puts other tensors in the place of parameters once the network is called
            self._handle = self._network.register_forward_pre_hook(self._begin, with_kwargs=True)
        self._depth += 1
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._handle.remove()
        super().__exit__(*exception)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = self._given(func, args, kwargs)
        if all(map(self._is_own, _tensors((args, kwargs)))):
            for tensor in _tensors(given):
                self._own[tensor] = True
        else:
            for tensor in _changed(func, args, kwargs):
                self._own.pop(tensor, None)
        return given

    def _begin(self, _: nn.Module, args: object, kwargs: object) -> None:
        self._note_own()
        for tensor in _tensors((args, kwargs)):
            self._own.pop(tensor, None)

    def _note_own(self) -> None:
        for tensor in (*self._network.parameters(), *self._network.buffers()):
            self._own[tensor] = True

    def _is_own(self, tensor: Tensor) -> bool:
        return tensor in self._own

    def _are_activations(self, *operands: object) -> bool:
        return all(isinstance(o, Tensor) and not self._is_own(o) for o in operands)

    def _given(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a function gives, its products of activations met."""
        if func in _PRODUCTS:
            return self._product(func, args, kwargs)
        if func in _ADDED_TO:
            return self._added(func, args, kwargs)
        if func is functional.scaled_dot_product_attention:
            with self:
                return attention(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            with self:
                return _opened(func)(*args, **kwargs)
        if func is torch.einsum:
            return self._einsum(func, *args)
        if func in _UNKNOWN and sum(map(self._are_activations, _tensors((args, kwargs)))) > 1:
            raise _cannot_be_laid(f"{func.__name__}(...)")
        return func(*args, **kwargs)

    def _product(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        left = args[0] if args else kwargs["input"]
        named = next((name for name in _RIGHT if name in kwargs), None)
        right = args[1] if named is None else kwargs[named]
        if not self._are_activations(left, right):
            return func(*args, **kwargs)
        found = self._meet(
            left if left.dim() > 1 else left[None], right if right.dim() > 1 else right[:, None]
        )
        found = found if right.dim() > 1 else found[:, 0]
        if named is None:
            return func(args[0], found, *args[2:], **kwargs)
        return func(*args, **{**kwargs, named: found})

    def _added(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A product that is added to something, as both apart."""
        names = ("input", f"{_ADDED_TO[func]}1", f"{_ADDED_TO[func]}2")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if not self._are_activations(*(given[name] for name in names[1:])):
            return func(*args, **kwargs)
        with self:
            found = (given[names[1]] @ given[names[2]]) * given.get("alpha", 1)
            if given.get("beta", 1) != 0:
                found = given["input"] * given.get("beta", 1) + found
            return given["input"].copy_(found) if func.__name__.endswith("_") else found

    def _einsum(self, func: Any, equation: Any, *operands: Any) -> Any:
        tensors = operands[0] if operands and not isinstance(operands[0], Tensor) else operands
        if not isinstance(equation, str):
            tensors = [each for each in (equation, *operands) if isinstance(each, Tensor)]
        if sum(map(self._are_activations, tensors)) < 2:
            return func(equation, *operands)
        if not isinstance(equation, str) or len(tensors) > 2:
            raise _cannot_be_laid(f"einsum {equation!r}" if isinstance(equation, str) else "einsum")
        with self:
            found = as_product(equation, tensors)
        return func(equation, *operands) if found is None else found


def _tensors(held: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(held) if isinstance(leaf, Tensor)]


def _changed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Tensor]:
    """What a function writes to."""
    name = getattr(func, "__name__", "")
    in_place = name.endswith("_") and not name.endswith("__")
    in_place = in_place or (name.startswith("__i") and name.endswith("__"))
    first = args[:1] if in_place or name == "__setitem__" else ()
    return _tensors((first, kwargs.get("out")))


def _cannot_be_laid(product: str) -> NetworkError:
    return NetworkError(
        f"a product of activations written as {product} cannot be laid on the array",
        hint="write it as products of two matrices, with matmul",
    )


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
