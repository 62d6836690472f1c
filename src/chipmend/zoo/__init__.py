"""Reference networks in their form for 32 x 32 pictures, with small trained weights.

Their form for ImageNet is in ``chipmend.zoo.imagenet``, under the same names.
"""

from collections.abc import Callable, Mapping

from torch import nn

from chipmend.errors import NetworkError
from chipmend.zoo.alexnet import alexnet
from chipmend.zoo.mobilenet import mobilenet_v2
from chipmend.zoo.resnet import resnet18
from chipmend.zoo.vgg import vgg11, vgg16
from chipmend.zoo.vit import vit
from chipmend.zoo.weights import WEIGHTS, read_weights_, write_weights

NETWORKS: Mapping[str, Callable[..., nn.Sequential]] = {
    function.__name__: function for function in (alexnet, mobilenet_v2, resnet18, vgg11, vgg16, vit)
}
"""Constructors by name: each takes ``classes``, ``channels`` and ``width``."""

__all__ = [
    "NETWORKS",
    "alexnet",
    "mobilenet_v2",
    "read_weights_",
    "resnet18",
    "trained",
    "vgg11",
    "vgg16",
    "vit",
    "write_weights",
]


def trained(name: str, *, data: str = "fashion-mnist", width: float = 0.25) -> nn.Sequential:
    """A network with the weights that chipmend ships.

    Args:
        name: Its name, one of ``NETWORKS``.
        data: Data set that it was trained on.
        width: Factor on the number of channels.

    Returns:
        The network.

    Raises:
        NetworkError: There is no such network, or no such weights are shipped.
    """
    if name not in NETWORKS:
        raise NetworkError(f"there is no network {name!r}", hint=f"give {' or '.join(NETWORKS)}")
    path = WEIGHTS / f"{name}-{data}-{width:g}.safetensors"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in WEIGHTS.glob("*.safetensors")))
        raise NetworkError(
            f"there are no trained weights of {name} for {data} at width {width:g}",
            hint=f"shipped are {shipped}; others are trained with 'python -m chipmend.zoo.train', "
            "and named in a plan as in reproduce/reduce/full_width.toml",
        )
    network = NETWORKS[name](channels=1, width=width)
    read_weights_(network, path)
    return network
