"""A network as the tensors that it holds: parameters and buffers, each under its first name."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def own_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a network, on the processor wherever the network is."""
    return {name: tensor.cpu() for name, tensor in _held(network).items()}


def give_(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a network the parameters and buffers of another one of the same layers, in place."""
    held = _held(network)
    with torch.no_grad():
        for name, tensor in tensors.items():
            held[name].copy_(tensor)


def same_tensors(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    """Whether two networks hold the same numbers under the same names."""
    return some.keys() == others.keys() and all(
        torch.equal(tensor, others[name]) for name, tensor in some.items()
    )


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Hex digest of tensors and their names, whatever their layout in memory.

    Example:
        >>> digest_of_tensors({"a": torch.zeros(2, 3)}) == digest_of_tensors({"a": torch.zeros(6)})
        False
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _held(network: nn.Module) -> dict[str, Tensor]:
    named = [*network.named_parameters(), *network.named_buffers()]
    return {name: tensor.detach() for name, tensor in named}
