"""Trained weights as safetensors: half precision on disk, float32 in the network."""

from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from chipmend.errors import NetworkError
from chipmend.files import write_bytes

WEIGHTS = Path(__file__).parent / "weights"
FP16_MOST = torch.finfo(torch.float16).max


def write_weights(network: nn.Module, path: Path) -> Path:
    """Write a network's weights and statistics as fp16, and round the network to what was written.

    Args:
        network: Its floating-point state is rounded in place.
        path: The file to write.

    Returns:
        The path.

    Raises:
        NetworkError: A value that fp16 cannot hold; nothing is written.
    """
    state = {name: _halved(value) for name, value in network.state_dict().items()}
    beyond = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if beyond:
        raise NetworkError(
            f"values beyond what fp16 can hold ({FP16_MOST:g}): {', '.join(beyond)}",
            hint="train with a lower learning rate or more weight decay",
        )
    write_bytes(path, save(state))
    return read_weights_(network, path)


def read_weights_(network: nn.Module, path: Path) -> Path:
    """Load weights into a network.

    Args:
        network: Takes the weights.
        path: A safetensors file.

    Returns:
        The path.

    Raises:
        NetworkError: No such file, or weights that do not fit; names every tensor that does not.
    """
    try:
        stored = load(path.read_bytes())
    except Exception as error:
        raise NetworkError(
            f"cannot read weights from {path}: {error}", hint="give a safetensors file"
        ) from error
    own = network.state_dict()
    misfits = [f"{name} is missing" for name in own.keys() - stored.keys()]
    misfits += [f"{name} is not in the network" for name in stored.keys() - own.keys()]
    misfits += [
        f"{name} is {_sizes(stored[name])} where the network has {_sizes(own[name])}"
        for name in own.keys() & stored.keys()
        if stored[name].shape != own[name].shape
    ]
    if misfits:
        raise NetworkError(
            f"the weights in {path} do not fit the network: " + "; ".join(sorted(misfits)),
            hint="check the width, the number of classes and the channels of the network",
        )
    network.load_state_dict(stored)
    return path


def _halved(value: Tensor) -> Tensor:
    return (value.half() if value.is_floating_point() else value).cpu().contiguous().clone()


def _sizes(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "a number"
