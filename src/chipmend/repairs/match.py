"""Match a repaired network to the clean one: each channel keeps its clean mean and spread.

Both networks are run on the same calibration inputs. As the inputs stream through the repaired one,
each norm's statistics are moved, and a layer without a norm gets its mean back through its bias, so
that what comes later meets corrected inputs. Only the change counts, so inputs that are unlike the
training data do no harm; no labels, no gradients.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.gemm import gemms
from chipmend.network.intercepts import Intercept
from chipmend.network.products import Product, Products
from chipmend.repairs.norms import Statistics, match_, meeting_norms, stored_statistics
from chipmend.repairs.sequential import Targets


def matched_(
    network: nn.Module,
    model: nn.Module,
    inputs: Tensor,
    clean: Targets,
    places: Mapping[str, Intercept],
) -> None:
    """Correct norms and biases of a repaired network, in place.

    Args:
        network: The repaired network.
        model: The clean network.
        inputs: The calibration inputs, as ``targets`` had them.
        clean: What the clean network does with them.
        places: Intercepts of the weights.
    """
    done = set()

    def meet(product: Product) -> None:
        part, place = product.part, places[product.gemm.name]
        if place.bias is None or place.norm is not None or part in done or part not in clean.parts:
            return
        done.add(part)
        rows = product.rows(clean.parts[part].places).mean(0)
        weight = product.matrix().unflatten(0, (len(rows), -1))
        now = (weight @ rows[:, :, None]).flatten()
        first = place.bias.first + product.outputs.start
        given, held = (
            net.get_parameter(place.bias.name).detach()[first:][: len(now)]
            for net in (model, network)
        )
        held.copy_(given + clean.parts[part].outputs.mean(0).flatten() - now)

    def correct(path: str, norm: _NormBase, now: Statistics) -> None:
        stored = model.get_submodule(path)
        assert isinstance(stored, _NormBase)
        match_(norm, stored_statistics(stored), clean.norms[path], now)

    with (
        evaluating(network),
        torch.no_grad(),
        meeting_norms(network, correct),
        Products(gemms(network), meet),
    ):
        network(inputs.to(device_of(network)))
