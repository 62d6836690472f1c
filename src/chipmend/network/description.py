"""What tells one function, object or network from another: its code and what it holds.

Results are cached and runs resumed by digests, so two things that may compute differently must
never have the same description, and one thing must have the same in every process. Code of Python,
torch, numpy and scipy is described by its name alone: fingerprints hold their versions.
"""

import enum
import functools
import hashlib
import json
import sys
import types
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chipmend.errors import NetworkError

_BY_NAME = sys.stdlib_module_names | {"torch", "numpy", "scipy", "chipmend"}
_TORCH_S_OWN = frozenset(vars(nn.Module()))  # modes, hooks and registries
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def digest_of_behaviour(thing: object) -> str:
    """Hex digest of what a thing is and does.

    Args:
        thing: A function, an object, a network, or a collection of such.

    Returns:
        The same for the same code and content, in every process.

    Raises:
        NetworkError: The thing cannot be told from another of its type.

    Example:
        >>> def power(exponent):
        ...     return lambda x: x**exponent
        >>> digest_of_behaviour(power(2)) == digest_of_behaviour(power(2))
        True
        >>> digest_of_behaviour(power(2)) == digest_of_behaviour(power(3))
        False
    """
    text = json.dumps(_Describing().of(thing), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class _Describing:
    """One description; an object that comes up again is named by its number."""

    def __init__(self) -> None:
        self._met: dict[int, tuple[int, object]] = {}  # holds what it met, so that no id is reused

    def of(self, thing: object) -> Any:
        match thing:
            case float() if thing.is_integer():
                return f"int {int(thing)}"  # 1 and 1.0 are the same, as in plans
            case None | bool() | int() | float() | complex() | str() | bytes():
                return f"{type(thing).__name__} {thing!r}"
            case enum.Enum():
                return f"{_name(type(thing))} {thing.name}"
            case types.CodeType():
                return self._code(thing)
            case tuple():  # like code, perhaps one object or several equal ones: no number
                return [_name(type(thing)), [self.of(item) for item in thing]]
            case set() | frozenset():
                return [_name(type(thing)), sorted(json.dumps(self.of(item)) for item in thing)]
        if id(thing) in self._met:
            return f"number {self._met[id(thing)][0]}"
        self._met[id(thing)] = (len(self._met), thing)
        return self._new(thing)

    def _new(self, thing: object) -> Any:
        match thing:
            case Tensor():
                return [_name(type(thing)), _content(thing), thing.requires_grad]
            case weakref.ReferenceType():
                return ["reference", self.of(thing())]
            case np.ndarray() if thing.dtype.kind in "biufc":
                content = hashlib.sha256(np.ascontiguousarray(thing).tobytes()).hexdigest()
                return [_name(type(thing)), f"{thing.dtype} {thing.shape} {content}"]
            case nn.Module():
                return self._module(thing)
            case type():
                return self._class(thing)
            case types.FunctionType():
                return self._function(thing)
            case types.MethodType():
                return ["method", self.of(thing.__func__), self.of(thing.__self__)]
            case staticmethod() | classmethod():
                return [_name(type(thing)), self.of(thing.__func__)]
            case property():
                return ["property", *map(self.of, (thing.fget, thing.fset))]
            case functools.cached_property():
                return ["cached_property", self.of(thing.func)]
            case types.BuiltinFunctionType() | types.ModuleType() | np.ufunc():
                return _name(thing)
            case Mapping():
                return [_name(type(thing)), [[self.of(k), self.of(v)] for k, v in thing.items()]]
            case list():
                return [_name(type(thing)), [self.of(item) for item in thing]]
        return self._object(thing)

    def _module(self, module: nn.Module) -> Any:
        own = {name: value for name, value in vars(module).items() if name not in _TORCH_S_OWN}
        held = {
            "settings": own,
            "parameters": module._parameters,
            "buffers": module._buffers,
            "modules": module._modules,
            "hooks": [list(getattr(module, hooks).values()) for hooks in _HOOKS],
        }
        return [self.of(type(module)), self.of(held)]

    def _class(self, kind: type) -> Any:
        if _is_by_name(kind):
            return _name(kind)
        code = {name: item for name, item in vars(kind).items() if _is_behaviour(name, item)}
        return [_name(kind), self.of(kind.__bases__), self.of(code)]

    def _function(self, function: types.FunctionType) -> Any:
        if _is_by_name(function):
            return _name(function)
        cells = [_held(cell) for cell in function.__closure__ or ()]
        named = {
            name: function.__globals__[name]
            for name in sorted(_names(function.__code__))
            if name in function.__globals__
        }
        parts = (function.__code__, function.__defaults__, function.__kwdefaults__, cells, named)
        return [_name(function), *map(self.of, parts)]

    def _code(self, code: types.CodeType) -> Any:
        return [code.co_code.hex(), list(code.co_names), [self.of(c) for c in code.co_consts]]

    def _object(self, thing: object) -> Any:
        """By class and state, as copying takes an object apart."""
        try:
            parts = thing.__reduce_ex__(2)
        except TypeError as error:
            raise NetworkError(
                f"a {_name(type(thing))} cannot be told from another one: {error}",
                hint="let networks, metrics, losses and policies hold what can be pickled",
            ) from error
        if isinstance(parts, str):
            return [_name(type(thing)), parts]
        _, arguments, state, *items = (*parts, None, None, None)[:5]
        held = [list(item) for item in items if item is not None]
        return [self.of(type(thing)), self.of(arguments), self.of(state), self.of(held)]


def _names(code: types.CodeType) -> Iterator[str]:
    """Global names that a function and the functions inside it may look up."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _names(const)


def _held(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return "empty"


def _is_behaviour(name: str, item: object) -> bool:
    """Whether an attribute of a class is code or a setting, not machinery of the class."""
    if name in ("__doc__", "__module__", "__qualname__"):
        return False
    wrapped = staticmethod | classmethod | property | functools.cached_property
    return isinstance(item, types.FunctionType | wrapped | bool | int | float | str | tuple)


def _is_by_name(thing: type | types.FunctionType) -> bool:
    """Whether its name stands for one thing alone: what is made anew at each call has no such."""
    package = (thing.__module__ or "").partition(".")[0]
    return package in _BY_NAME and "<" not in thing.__qualname__


def _name(thing: Any) -> str:
    module = getattr(thing, "__module__", None)
    return f"{module}.{getattr(thing, '__qualname__', getattr(thing, '__name__', thing))}"


def _content(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    content = hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()
    return f"{tensor.dtype} {tuple(tensor.shape)} {content}"
