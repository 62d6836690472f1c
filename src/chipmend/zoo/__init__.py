"""Reference networks, some with trained weights."""

from torch import nn

from chipmend.errors import NetworkError
from chipmend.zoo.vgg import vgg11
from chipmend.zoo.weights import WEIGHTS, read_weights_, write_weights

__all__ = ["read_weights_", "trained_vgg11", "vgg11", "write_weights"]


def trained_vgg11(data: str = "fashion-mnist", width: float = 0.25) -> nn.Sequential:
    """VGG11 with the weights that chipmend ships.

    Args:
        data: Data set that it was trained on.
        width: Factor on the number of channels.

    Returns:
        The network.

    Raises:
        NetworkError: No such weights are shipped.
    """
    path = WEIGHTS / f"vgg11-{data}-{width:g}.safetensors"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in WEIGHTS.glob("vgg11-*.safetensors")))
        raise NetworkError(
            f"there are no trained weights of VGG11 for {data} at width {width:g}",
            hint=f"shipped are {shipped}; others are trained with 'python -m chipmend.zoo.train', "
            "and named in a plan as in reproduce/reduce/full_width.toml",
        )
    network = vgg11(channels=1, width=width)
    read_weights_(network, path)
    return network
