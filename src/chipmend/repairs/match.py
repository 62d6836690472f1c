"""Match a repaired network to the clean one: each channel keeps its clean mean and spread.

Both networks are run on the same calibration inputs. As the inputs stream through the repaired one,
each norm's statistics are moved, and a layer without a norm gets its mean back through its bias, so
that what comes later meets corrected inputs. No labels, no gradients.

Only the change counts, so the inputs need not be many. Where they are unlike the training data, by
what the clean network's norms have stored of it, they say little of what the faults change there,
and the correction is held back.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.gemm import gemms
from chipmend.network.intercepts import Intercept
from chipmend.network.products import Product, Products
from chipmend.repairs.norms import (
    Statistics,
    match_,
    meeting_norms,
    stored_statistics,
    unlikeness,
)
from chipmend.repairs.sequential import Targets

UNLIKE = 0.1
"""Unlikeness at which a correction is made by half. For VGG11, eight training pictures come to 0.03
and more of them to less; inverted pictures come to 0.2, noise to 0.5."""


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
    done, trust = set(), trust_in(model, clean)

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
        corrected = given + clean.parts[part].outputs.mean(0).flatten() - now
        held.lerp_(corrected.to(held.dtype), trust)

    def correct(path: str, norm: _NormBase, now: Statistics) -> None:
        stored = model.get_submodule(path)
        assert isinstance(stored, _NormBase)
        match_(norm, stored_statistics(stored), clean.norms[path], now, trust)

    with (
        evaluating(network),
        torch.no_grad(),
        meeting_norms(network, correct),
        Products(gemms(network), meet),
    ):
        network(inputs.to(device_of(network)))


def trust_in(model: nn.Module, clean: Targets) -> float:
    """How far to correct, by what the clean network does with the calibration inputs.

    Args:
        model: The clean network.
        clean: What it does with them.

    Returns:
        1 for inputs like its training data, or where its norms cannot tell; toward 0 otherwise.
    """
    norms = ((model.get_submodule(path), met) for path, met in clean.norms.items())
    unlike = [unlikeness(norm, met) for norm, met in norms if isinstance(norm, _NormBase)]
    return 1 / (1 + (sum(unlike) / max(1, len(unlike)) / UNLIKE) ** 2)
