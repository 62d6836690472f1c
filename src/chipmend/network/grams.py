"""Gram matrices: second moments of what comes into each weight, from a few calibration inputs.

They say how outputs change if a weight does, need no labels, and are the same for every chip. Of
each product only a random subset of its rows is looked at: thousands of them, from all inputs, tell
as much as millions. Sums are taken around the mean of the first rows, so that single precision
loses nothing to the offset that rectified inputs have.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.gemm import Gemm, gemms
from chipmend.network.precision import at_least_single
from chipmend.network.products import Product, Products

WIDEST = 12_288
"""Inputs of an output up to which their moments are kept; of wider weights the rows are."""


@dataclass(frozen=True, eq=False)
class Gram:
    """What comes into one weight, over the rows that were looked at.

    A weight's outputs fall into ``blocks`` of equal size that have inputs of their own: one, unless
    the layer is grouped or a packed projection.

    Args:
        mean: Mean inputs.
        moments: Second moments about the mean; none of a weight wider than ``WIDEST`` in one block.
        rows: The inputs themselves, about their mean, of such a weight.
        multiply_adds: What it took to take them.
    """

    mean: Float[Tensor, "blocks k"]
    moments: Float[Tensor, "blocks k k"] | None
    rows: Float[Tensor, "samples k"] | None
    multiply_adds: int = 0


def grams(
    model: nn.Module, inputs: Iterable[Tensor], *, samples: int, places: int, seed: int
) -> dict[str, Gram]:
    """Take the Gram matrices of every weight that the array holds.

    Args:
        model: The network; it is left as it was.
        inputs: Batches of calibration inputs.
        samples: How many inputs all batches hold together.
        places: Rows to look at in each product, over all batches.
        seed: Chooses the rows.

    Returns:
        The Gram of every weight by name; a weight that no input reaches has none.
    """
    found: dict[str, _Sums] = {}
    generator = torch.Generator().manual_seed(seed)
    with evaluating(model), torch.no_grad():
        for batch in inputs:
            share = math.ceil(places * len(batch) / samples)

            def meet(product: Product, share: int = share) -> None:
                chosen = torch.randperm(product.samples, generator=generator)[:share]
                found.setdefault(product.gemm.name, _Sums(product.gemm)).add(product, chosen)

            with Products(gemms(model), meet):
                model(batch.to(device_of(model)))
    return {name: found.pop(name).gram() for name in tuple(found)}  # sums are as large as Grams


@dataclass(eq=False)
class _Sums:
    """What comes into one weight so far, each of its uses apart."""

    gemm: Gemm
    uses: dict[tuple[range, int], "_Use"] = field(default_factory=dict)

    def add(self, product: Product, chosen: Tensor) -> None:
        rows = product.rows(chosen.to(product.inputs.device)).transpose(0, 1)
        key = product.outputs, product.groups
        if key not in self.uses:
            self.uses[key] = _Use.about(rows.mean(1), wide=rows.shape[-1] > WIDEST)
        self.uses[key].add(rows)

    def gram(self) -> Gram:
        """Pool all uses, block by block."""
        if rows := self._rows():
            joint = torch.cat(rows)
            return Gram(joint.mean(0)[None], None, joint - joint.mean(0))
        size = math.gcd(
            *(n for outputs, groups in self.uses for n in (outputs.start, len(outputs) // groups))
        )
        firsts = range(0, len(self.gemm.weight), size)
        means, moments = zip(*map(self._pooled, firsts), strict=True)
        uses = self.uses.values()
        work = sum(use.count * use.around.numel() * use.around.shape[1] for use in uses)
        joint = moments[0][None] if len(moments) == 1 else torch.stack(moments)
        return Gram(torch.stack(means), joint, None, work)

    def _rows(self) -> list[Tensor]:
        """The inputs of a wide weight, all of whose outputs have the same; none of another."""
        (outputs, groups), use = next(iter(self.uses.items()))
        alike = len(self.uses) == groups == 1 and len(outputs) == len(self.gemm.weight)
        return use.rows if alike else []

    def _pooled(self, output: int) -> tuple[Tensor, Tensor]:
        """Mean and moments of what comes into one output, over all uses of it."""
        found = [
            use.of_group((output - outputs.start) * groups // len(outputs))
            for (outputs, groups), use in self.uses.items()
            if output in outputs
        ]
        if not found:
            nothing = at_least_single(self.gemm.weight.detach()[0].flatten() * 0)
            return nothing, torch.outer(nothing, nothing)
        if len(found) == 1:
            return found[0][1:]
        counts, means, moments = zip(*found, strict=True)
        shares = torch.tensor(counts, device=means[0].device) / sum(counts)
        means, moments = torch.stack(means), torch.stack(moments)
        mean = shares.to(means.dtype) @ means
        apart = means - mean
        spread = moments + apart[:, :, None] * apart[:, None]
        return mean, (shares[:, None, None] * spread).sum(0)


@dataclass(eq=False)
class _Use:
    """Sums about a fixed point; of a wide weight the rows themselves."""

    around: Float[Tensor, "groups k"]
    first: Float[Tensor, "groups k"]
    second: Float[Tensor, "groups k k"] | None
    rows: list[Float[Tensor, "samples k"]] = field(default_factory=list)
    count: int = 0

    @classmethod
    def about(cls, point: Tensor, *, wide: bool) -> "_Use":
        squares = None if wide else point.new_zeros(*point.shape, point.shape[1])
        return cls(point, torch.zeros_like(point), squares)

    def add(self, rows: Float[Tensor, "groups samples k"]) -> None:
        self.count += rows.shape[1]
        if self.second is None:
            self.rows.extend(rows)
            return
        apart = rows - self.around[:, None]
        self.first += apart.sum(1)
        self.second.baddbmm_(apart.mT, apart)

    def of_group(self, group: int) -> tuple[int, Tensor, Tensor]:
        if self.second is None:
            rows = torch.cat(self.rows[group :: len(self.around)])
            apart = rows - rows.mean(0)
            return self.count, rows.mean(0), apart.mT @ apart / len(rows)
        shift = self.first[group] / self.count
        moments = (self.second[group] / self.count).addr_(shift, shift, alpha=-1)
        return self.count, self.around[group] + shift, moments
