"""Sequential compensation: fit each layer, on what repaired layers hand it, to the clean outputs.

One forward pass of the calibration inputs repairs the whole network: just before a layer is
computed its healthy weights are solved for, so that the stream goes on through the repaired layer,
through branches and residual sums, whatever the network's shape. Norms are matched as the stream
reaches them. Of each product a random subset of rows is looked at, the same in both networks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.gemm import gemms
from chipmend.network.grams import WIDEST
from chipmend.network.intercepts import Intercept
from chipmend.network.products import Product, Products
from chipmend.network.sensitivity import Sensitivity
from chipmend.repairs.closed_form import (
    Inputs,
    Known,
    Moments,
    compensated,
    share_of,
    solving_for,
)
from chipmend.repairs.factors import cholesky, cholesky_, second_moments, solve
from chipmend.repairs.norms import Statistics, match_, meeting_norms, stored_statistics
from chipmend.repairs.prune import Pruned, prune_

EVENLY = 0.2
"""Share of the rows that are chosen evenly, whatever the outputs hang on."""
Part = tuple[str, int]
"""A weight's name, and its first output that takes part in a product."""


@dataclass(frozen=True, eq=False)
class Target:
    """What a part of a weight has to give out, at some rows of its product.

    Args:
        places: Which rows, of the first use.
        outputs: The clean network's outputs there, without the bias.
        later: Clean inputs and outputs of each later use of the weight.
    """

    places: Int64[Tensor, " places"]
    outputs: Float[Tensor, "places groups n"]
    later: list[tuple[Float[Tensor, "places groups k"], Float[Tensor, "places groups n"]]] = field(
        default_factory=list
    )


@dataclass(frozen=True, eq=False)
class Targets:
    """What the clean network does with the calibration inputs.

    Args:
        parts: Targets by the weight's name and its first output that takes part.
        norms: Statistics of the inputs of each norm, by its path.
    """

    parts: Mapping[Part, Target]
    norms: Mapping[str, Statistics]


def targets(
    model: nn.Module,
    inputs: Tensor,
    *,
    places: int,
    seed: int,
    sensitive: Mapping[str, Sensitivity] | None = None,
) -> tuple[Targets, int]:
    """Note what the clean network does with the calibration inputs.

    Args:
        model: The clean network.
        inputs: The calibration inputs, all of them: they go through at once.
        places: Rows to look at in each product.
        seed: Chooses the rows.
        sensitive: Sensitivities on these inputs, as far as they are known: rows that the network's
            outputs hang on are chosen more often.

    Returns:
        The targets, and the multiply-adds it took beside the forward pass.
    """
    known, work = sensitive or {}, 0
    generator = torch.Generator().manual_seed(seed)
    parts: dict[Part, Target] = {}

    def meet(product: Product) -> None:
        nonlocal work
        found = known.get(product.gemm.name)
        chosen = _chosen(product.samples, places, None if found is None else found.rows, generator)
        rows = product.rows(chosen.to(product.inputs.device))
        outputs = _outputs(rows, product.matrix())
        work += outputs.numel() * rows.shape[-1]
        if product.part in parts:
            parts[product.part].later.append((rows, outputs))
        else:
            parts[product.part] = Target(chosen.to(outputs.device), outputs)

    norms: dict[str, Statistics] = {}
    with (
        evaluating(model),
        torch.no_grad(),
        meeting_norms(model, lambda path, _, found: norms.__setitem__(path, found)),
        Products(gemms(model), meet),
    ):
        model(inputs.to(device_of(model)))
    return Targets(parts, norms), work


def _chosen(
    rows: int, places: int, weights: Tensor | None, generator: torch.Generator
) -> Int64[Tensor, " places"]:
    """Some rows without repetition, in their order; in part evenly, in part by weight.

    References:
        [Efraimidis2006] Efraimidis, Spirakis, "Weighted random sampling with a reservoir",
            Information Processing Letters 97(5), 2006.
    """
    if places >= rows:
        return torch.arange(rows)
    odds = torch.ones(rows)
    if weights is not None and len(weights) == rows:
        odds = EVENLY * odds + (1 - EVENLY) * rows * weights.cpu() / weights.sum().cpu()
    arrival = torch.empty(rows).exponential_(generator=generator) / odds  # [Efraimidis2006]
    return arrival.topk(places, largest=False).indices.sort().values


Settle = Callable[[str, slice, Float[Tensor, "n k"], Known], tuple[Float[Tensor, "n k"], int]]
"""What becomes of the best weights of some outputs: given the weight's name, the outputs, the best
weights if all could be chosen, and what is known of their inputs; with the multiply-adds taken."""


def sequential_(
    network: nn.Module,
    inputs: Tensor,
    clean: Targets,
    pruned: Pruned,
    places: Mapping[str, Intercept],
    *,
    pull: float,
    missed: float = 0.0,
) -> int:
    """Repair a clean network for its pruned weights while inputs stream through it, in place.

    Args:
        network: A copy of the clean network.
        inputs: The calibration inputs, as ``targets`` had them.
        clean: What the clean network does with them.
        pruned: The weights on faulty PEs.
        places: Intercepts of the weights.
        pull: Share of the mean second moment by which weights are held to the clean ones.
        missed: Share of the other weights that is expected to be lost as well, nobody knows which.

    Returns:
        The multiply-adds it took, those of the forward pass among them.

    Raises:
        RepairError: Moments are singular.
    """

    def lose(name: str, outputs: slice, best: Tensor, known: Known) -> tuple[Tensor, int]:
        solved = compensated(best, pruned[name].flatten(1)[outputs], known)
        return solved.weights, solved.multiply_adds

    work = settled_in_stream_(network, inputs, clean, lose, places, pull=pull, missed=missed)
    prune_(network, pruned)  # a layer that no calibration input reaches is not compensated
    return work


def settled_in_stream_(
    network: nn.Module,
    inputs: Tensor,
    clean: Targets,
    settle: Settle,
    places: Mapping[str, Intercept],
    *,
    pull: float,
    missed: float = 0.0,
) -> int:
    """Fit a clean network's weights layer by layer while inputs stream through it, in place.

    Args:
        network: A copy of the clean network.
        inputs: The calibration inputs, as ``targets`` had them.
        clean: What the clean network does with them.
        settle: What becomes of the best weights.
        places: Intercepts of the weights.
        pull: Share of the mean second moment by which weights are held to the clean ones.
        missed: Share of the weights that is expected to be lost, nobody knows which.

    Returns:
        The multiply-adds it took, those of the forward pass among them.

    Raises:
        RepairError: Moments are singular.
    """
    work, done = 0, set[Part]()

    def meet(product: Product) -> None:
        nonlocal work
        work += product.multiply_adds
        part = product.part
        if part not in done and part in clean.parts:
            done.add(part)
            fit = _Fit(network, product, clean.parts[part], places[product.gemm.name])
            with solving_for(product.gemm.name):
                work += fit.solve_(settle, pull, missed)

    def correct(path: str, norm: _NormBase, now: Statistics) -> None:
        match_(norm, stored_statistics(norm), clean.norms[path], now)

    with (
        evaluating(network),
        torch.no_grad(),
        meeting_norms(network, correct),
        Products(gemms(network), meet),
    ):
        network(inputs.to(device_of(network)))
    return work


@dataclass(frozen=True, eq=False)
class _Fit:
    """One part of a weight, about to be computed in the repaired stream."""

    network: nn.Module
    product: Product
    target: Target
    place: Intercept

    def solve_(self, settle: Settle, pull: float, missed: float) -> int:
        """Solve for its best weights, write what becomes of them; return the multiply-adds."""
        clean = self.product.matrix()
        target = self.target
        rows = torch.cat([self.product.rows(target.places), *(rows for rows, _ in target.later)])
        wanted = torch.cat([target.outputs, *(outputs for _, outputs in target.later)])
        rows, wanted = rows.transpose(0, 1), wanted.transpose(0, 1)  # groups first
        mean_in, mean_out = rows.mean(1, keepdim=True), wanted.mean(1, keepdim=True)
        if self.place:
            rows, wanted = rows - mean_in, wanted - mean_out
        grouped = clean.unflatten(0, (len(rows), -1))
        residual = wanted - rows @ grouped.mT
        if len(rows) == 1 and rows.shape[-1] > WIDEST:
            moved, known, work = _fit_wide(rows, residual, pull)
        else:
            moved, known, work = _fit(rows, residual, pull, grouped, missed)
        outputs = slice(self.product.outputs.start, self.product.outputs.stop)
        best = (grouped + moved).flatten(0, 1)
        weights, spent = settle(self.product.gemm.name, outputs, best, known)
        self._write_(weights, mean_in, mean_out)
        return work + rows.shape[1] * clean.numel() + spent

    def _write_(self, weights: Tensor, mean_in: Tensor, mean_out: Tensor) -> None:
        self.product.write_(weights)
        if (bias := self.place.bias) is not None:
            now = mean_in @ weights.unflatten(0, (len(mean_in), -1)).mT
            first = bias.first + self.product.outputs.start
            held = self.network.get_parameter(bias.name)[first:][: len(weights)]
            held += (mean_out - now).flatten()


def _fit(
    rows: Tensor, residual: Tensor, pull: float, clean: Tensor, missed: float
) -> tuple[Tensor, Known, int]:
    """By how much to change each group's weights for what is lacking, and how inputs are known.

    Where each weight is lost with probability ``q``, the expected error is that of weights
    ``(1 - q) w`` and ``q (1 - q) w^T D w``, ``D`` being the diagonal of the moments ``H``: so the
    best weights solve ``((1 - q) H + q D) w = X^T y``.
    """
    groups, samples, k = rows.shape
    moments, work = second_moments(rows)
    diagonal = moments.diagonal(dim1=1, dim2=2)
    added, sought = share_of(diagonal.mean(1), pull), rows.mT @ residual / samples
    if missed:
        own = diagonal.clone()
        sought = sought + missed * (moments @ clean.mT - own[:, :, None] * clean.mT)
        moments.mul_(1 - missed)
        diagonal.add_(missed * own)
        work += clean.numel() * k
    diagonal.add_(added[:, None])
    moved = solve(cholesky(moments), sought).mT
    work += residual.numel() * k + groups * k**3 // 3 + moved.numel() * k
    return moved, Moments(moments, added), work


def _fit_wide(rows: Tensor, residual: Tensor, pull: float) -> tuple[Tensor, Known, int]:
    """The same in the space of samples: ``(X^T X + d)^-1 X^T = X^T (X X^T + d)^-1``."""
    _, samples, k = rows.shape
    known = Inputs.of(rows[0], pull)
    kernel = known.rows @ known.rows.mT
    kernel.diagonal().add_(known.damping)
    moved = solve(cholesky_(kernel)[None], residual / samples**0.5).mT @ known.rows
    return moved, known, samples**2 * k + samples**3 // 3 + residual.numel() * (samples + k)


def _outputs(rows: Tensor, matrix: Tensor) -> Tensor:
    """What comes of some rows, ``places x groups x outputs``."""
    grouped = matrix.unflatten(0, (rows.shape[1], -1))
    return (rows.transpose(0, 1) @ grouped.mT).transpose(0, 1)
