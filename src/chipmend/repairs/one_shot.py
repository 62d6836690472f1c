"""One-shot compensation: every layer alone, against the clean network's inputs, in closed form.

The healthy weights of each output take over what its faulty ones did, as well as second moments of
the clean inputs can tell. A constant goes to the bias or to the norm that follows, and that norm is
matched from the same moments, without running the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from chipmend.network.gemm import Gemm, gemms
from chipmend.network.grams import Gram
from chipmend.network.intercepts import Intercept
from chipmend.network.precision import at_least_single
from chipmend.network.sensitivity import Sensitivity
from chipmend.repairs.closed_form import (
    Inputs,
    Known,
    Moments,
    compensated,
    damped,
    losses_together,
    solving_for,
)
from chipmend.repairs.norms import Statistics, match_, stored_statistics
from chipmend.repairs.prune import Pruned, prune_

LEAST_VARIANCE = 1e-5
"""Share of an output's power, damping included, below which its variance is rounding."""


@dataclass(frozen=True, eq=False)
class CleanLayer:
    """What one-shot compensation knows of one clean weight: the same for every chip.

    Args:
        weight: The clean weight as a matrix.
        mean: Mean inputs of its outputs' blocks.
        known: Damped moments with their inverse, or the inputs.
        power: ``w^T H w`` of every output.
        stake: How much the network's outputs suffer per loss of every output: their sensitivity
            where that is known, else a share of the output's power.
        intercept: Where its outputs can be shifted.
    """

    weight: Float[Tensor, "n k"]
    mean: Float[Tensor, "blocks k"]
    known: Known
    power: Float[Tensor, " n"]
    stake: Float[Tensor, " n"]
    intercept: Intercept

    def mean_outputs(self, weight: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """Mean outputs over the calibration inputs, under some weight."""
        by_block = weight.unflatten(0, (len(self.mean), -1))
        return (by_block @ self.mean[:, :, None]).flatten()

    def saliency(self) -> Float[Tensor, "n k"]:
        """What losing each weight alone costs the network's outputs."""
        return self.known.loss_alone(self.weight) * self.stake[:, None]

    def losses_together(self, faulty: Bool[Tensor, "n k"]) -> tuple[Float[Tensor, "n n"], int]:
        """The same of each output under each other's faulty set, and the multiply-adds it took."""
        losses, work = losses_together(self.weight, faulty, self.known)
        return losses * self.stake[:, None], work

    def outputs(self, weights: Float[Tensor, "n k"], power: Float[Tensor, " n"]) -> Statistics:
        """Statistics of the outputs over the calibration inputs, under some weights.

        An output that hardly varied to begin with has no variance: what is left is rounding.

        Args:
            weights: The weights.
            power: ``x^T H x`` of each output; at an optimum it is ``w^T H w - 2 loss``.
        """
        damping = self.known.damping_of(len(self.power))
        clean = self.power - damping * self.weight.square().sum(1)
        found = power - damping * weights.square().sum(1)
        varies = clean > LEAST_VARIANCE * self.power
        return Statistics(self.mean_outputs(weights), found.clamp_min(0) * varies)

    def power_after(
        self,
        before: Float[Tensor, "n k"],
        now: Float[Tensor, "n k"],
        loss: Float[Tensor, " n"] | None,
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """``w^T H w`` of every output before and after its weights were changed.

        Args:
            before: The weights before.
            now: The weights after.
            loss: ``(now - before)^T H (now - before) / 2``, where that is known: there is then
                one matrix product to compute at most, and none if the clean weights were changed.
        """
        if loss is None or isinstance(self.known, Inputs):
            return self.known.power(before), self.known.power(now)
        clean = torch.equal(before, self.weight)
        pulled = self._pulled if clean else self.known.pulled(before)
        power = (pulled * before).sum(1)
        return power, power + 2 * (pulled * (now - before)).sum(1) + 2 * loss

    @cached_property
    def _pulled(self) -> Float[Tensor, "n k"]:
        """``H w`` of every output."""
        assert isinstance(self.known, Moments)
        return self.known.pulled(self.weight)

    def importance(self) -> Float[Tensor, "n k"]:
        """What a unit of squared error of each weight alone costs its output."""
        return self.known.loss_alone(torch.ones_like(self.weight))


def clean_layers(
    model: nn.Module,
    known: Mapping[str, Gram],
    places: Mapping[str, Intercept],
    damping: float,
    sensitive: Mapping[str, Sensitivity] | None = None,
) -> dict[str, CleanLayer]:
    """Prepare what one-shot compensation of any chip needs.

    Args:
        model: The clean network.
        known: Grams of its weights.
        places: Their intercepts.
        damping: Share of the mean second moment that is added to every diagonal.
        sensitive: Sensitivities of the weights, as far as they are known.

    Returns:
        The layers by name of the weight; those without a Gram are missing.

    Raises:
        RepairError: Moments are singular.
    """
    return {
        gemm.name: _clean_layer(
            gemm, known[gemm.name], places[gemm.name], damping, (sensitive or {}).get(gemm.name)
        )
        for gemm in gemms(model)
        if gemm.name in known
    }


def _clean_layer(
    gemm: Gemm, gram: Gram, place: Intercept, damping: float, sensitive: Sensitivity | None
) -> CleanLayer:
    weight = at_least_single(gemm.weight.detach().flatten(1).clone())
    with solving_for(gemm.name):
        held = damped(gram, damping, centred=bool(place)).with_inverse()
    power = held.power(weight)
    stake = 1 / (len(power) * power.clamp_min(1e-30)) if sensitive is None else sensitive.outputs
    return CleanLayer(weight, gram.mean, held, power, stake, place)


def one_shot_(
    network: nn.Module, layers: Mapping[str, CleanLayer], pruned: Pruned
) -> tuple[dict[str, Tensor], int]:
    """Compensate every layer of a clean network for its pruned weights, in place.

    Args:
        network: A copy of the clean network.
        layers: The clean layers.
        pruned: Its weights on faulty PEs.

    Returns:
        The loss of each output, by name of the weight, and the multiply-adds it all took.
    """
    losses, work = {}, 0
    prune_(network, pruned)  # a layer that no calibration input reaches is not compensated
    parameters = dict(network.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, layer in layers.items():
            with solving_for(name):
                repaired = compensated(layer.weight, pruned[name].flatten(1), layer.known)
            parameters[name].copy_(repaired.weights.view_as(parameters[name]))
            clean = layer.outputs(layer.weight, layer.power)
            now = layer.outputs(repaired.weights, layer.power - 2 * repaired.loss)
            shift_(network, layer.intercept, clean, now)
            losses[name] = repaired.loss
            work += repaired.multiply_adds
    return losses, work


def shift_(network: nn.Module, place: Intercept, before: Statistics, now: Statistics) -> None:
    """Give outputs back the mean, and where a norm follows the variance, that they had; in place.

    Args:
        network: The network that the layer is in.
        place: Where its outputs can be shifted.
        before: Statistics of the outputs as they were, without the bias.
        now: As they are.
    """
    mean = before.mean
    if place.bias is not None:
        bias = network.get_parameter(place.bias.name)[place.bias.first :][: len(mean)]
        mean = mean + bias
        bias += before.mean - now.mean
        now = Statistics(mean, now.variance)
    if place.norm is not None:
        norm = network.get_submodule(place.norm)
        assert isinstance(norm, _NormBase)
        match_(norm, stored_statistics(norm), Statistics(mean, before.variance), now)
