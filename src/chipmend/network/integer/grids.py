"""The whole numbers that activations are brought to, and the size of their steps.

Steps are found once for a network, from what its clean form does with calibration inputs, and are
the same on all its chips.
"""

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from chipmend.errors import NetworkError
from chipmend.network.integer.graph import Graph

logger = logging.getLogger(__name__)

KEPT_OF_A_BATCH = 2**14
"""Numbers of a tensor that are looked at in every batch, if there are more."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Whole numbers of 8 bits that stand for multiples of a step; 0 stands for 0.

    Args:
        step: What one is worth.
        signed: Whether they go from -128 to 127, or from 0 to 255.
    """

    step: float
    signed: bool

    @property
    def least(self) -> int:
        """The least of them."""
        return -128 if self.signed else 0

    @property
    def most(self) -> int:
        """The greatest of them."""
        return 127 if self.signed else 255

    @property
    def dtype(self) -> torch.dtype:
        """The type that holds just these numbers."""
        return torch.int8 if self.signed else torch.uint8

    @property
    def largest(self) -> int:
        """The greatest magnitude of them."""
        return 128 if self.signed else 255

    def numbers(self, values: Tensor) -> Tensor:
        """The nearest whole numbers to real ones, halves up."""
        found = (values.double() / in_double(self.step) + 0.5).floor_()
        return found.clamp_(self.least, self.most).to(self.dtype)

    def values(self, numbers: Tensor) -> Tensor:
        """The real numbers that whole ones stand for."""
        return numbers * self.step


def in_double(number: float) -> Float64[Tensor, ""]:
    """A number in double precision, and no less where a network is exported."""
    return torch.tensor(number, dtype=torch.float64)


Choice = Callable[[Tensor, Grid], Grid]
"""Chooses a grid for a sample of numbers, given the one that just reaches all that were seen."""


def least_squares(sample: Tensor, widest: Grid) -> Grid:
    """The grid of least mean squared error, of those that reach a part of the way."""
    tried = [replace(widest, step=widest.step * float(share)) for share in np.linspace(1, 0.1, 91)]
    errors = [float((grid.values(grid.numbers(sample)) - sample).square().mean()) for grid in tried]
    return tried[min(range(len(tried)), key=errors.__getitem__)]


def percentile(share: float) -> Choice:
    """Grids that reach a share of all magnitudes.

    Args:
        share: From 0 to 1.
    """

    def chosen(sample: Tensor, widest: Grid) -> Grid:
        reach = float(np.quantile(sample.abs().double().cpu().numpy(), share))
        return replace(widest, step=reach / widest.most) if reach > 0 else widest

    return chosen


def grids(
    graph: Graph,
    held: Mapping[str, Tensor],
    inputs: Iterable[Tensor],
    wanted: Collection[str],
    choice: Choice,
    *,
    signed: Collection[str] = (),
) -> dict[str, Grid]:
    """Find the grids of a network's values.

    Args:
        graph: The network.
        held: Its weights and statistics.
        inputs: Batches of calibration inputs.
        wanted: Names of the values that get a grid.
        choice: How a grid is chosen.
        signed: Names of those whose numbers have a sign, whether any is below zero or not.

    Returns:
        A grid for each. One that is zero on all inputs gets a step of 1, which is told in the log.

    Raises:
        NetworkError: A value that is not a finite number.
    """
    seen = {name: _Seen(signed=name in signed) for name in wanted}
    place = {graph.input: "the input", **{o.result: o.place for o in graph.operations}}

    def look(name: str, value: Any) -> None:
        if name in seen:
            seen[name].look_at(value, place[name])

    with torch.no_grad():
        for batch in inputs:
            graph.run(held, batch, look)
    return {name: _grid(place[name], found, choice) for name, found in seen.items()}


def _grid(place: str, seen: "_Seen", choice: Choice) -> Grid:
    widest = Grid(1.0, signed=seen.signed or seen.least < 0)
    reach = max(seen.most / widest.most, seen.least / widest.least if widest.signed else 0.0)
    if reach == 0:
        logger.warning("%s: no calibration input gives anything but zero", place)
        return widest
    return choice(torch.cat(seen.sample), replace(widest, step=reach))


@dataclass(slots=True)
class _Seen:
    """What was seen of a value."""

    signed: bool
    least: float = 0.0
    most: float = 0.0
    sample: list[Tensor] = field(default_factory=list)
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def look_at(self, value: Tensor, place: str) -> None:
        least, most = (float(extreme) for extreme in torch.aminmax(value))
        if not (math.isfinite(least) and math.isfinite(most)):
            raise NetworkError(
                f"{place} gives something that is not a finite number",
                hint="check the network's weights and the calibration inputs",
            )
        self.least, self.most = min(self.least, least), max(self.most, most)
        flat = value.flatten()
        if len(flat) > KEPT_OF_A_BATCH:
            chosen = torch.randint(len(flat), (KEPT_OF_A_BATCH,), generator=self.generator)
            flat = flat[chosen.to(flat.device)]
        self.sample.append(flat)
