"""The moves that stuck accumulators and multipliers make while sums wrap around.

The sum that passes a PE is that of the rows down to it, a product of the pass's operand with a part
of the weight, plus the moves that were made on the way. So all such sums are one matrix product,
and each stuck PE is one operation more.

A move is ``O - (s & F)`` for stuck bits ``F``, of which ``O`` are stuck at 1. The bits ``O`` are
the same for every sum and are added once; what is told apart here is the *drop* ``s & F``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int8, Int32, Int64
from torch import Tensor

from chipmend.network.integer.whole import WholeMatrices, WholeMatrix
from chipmend.simulate.columns import Event

Events = Mapping[int, Sequence[Event]]
"""Stuck bits by the column that they are in, down the column."""


@dataclass(frozen=True, eq=False)
class _Multipliers:
    """Stuck multipliers of several outputs.

    Args:
        outputs: The output of each.
        rows: The row of the operand that it multiplies.
        weights: What it multiplies by.
        faulty: Its stuck bits.
    """

    outputs: Int64[Tensor, " stuck"]
    rows: Int64[Tensor, " stuck"]
    weights: Int32[Tensor, "... stuck 1"]
    faulty: Int32[Tensor, "stuck 1"]

    def drop_(
        self, drops: Int32[Tensor, "... n m"], operand: Int8[Tensor, "... rows m"], zero: int
    ) -> None:
        """Add what they drop."""
        products = (operand[..., self.rows, :].to(torch.int32) - zero).mul_(self.weights)
        drops.index_add_(-2, self.outputs, products.bitwise_and_(self.faulty))


@dataclass(frozen=True, eq=False)
class _Accumulators:
    """The next stuck accumulator of each output that has so many.

    Args:
        sums: Which sums pass them; of the first outputs.
        faulty: Their stuck bits.
    """

    sums: slice
    faulty: Int32[Tensor, "count 1"]


class Chain:
    """The drops of some outputs in one pass, or their sums.

    Args:
        columns: The column of the array of each output, those with most stuck accumulators first.
        weights: What the registers of their PEs hold, for the rows of the pass; other rows of PEs
            are idle. Where there are several such, each has an operand of its own.
        multipliers: Stuck bits of multipliers.
        accumulators: Stuck bits of accumulators.
        least: The least number that activations may be.
        whole: Whether sums are wanted rather than drops.
    """

    def __init__(
        self,
        columns: Sequence[int],
        weights: Float[Tensor, "... n rows"],
        multipliers: Events,
        accumulators: Events,
        *,
        least: int,
        whole: bool,
    ) -> None:
        self._zero, self._whole, self._n = 0 if least < 0 else -128, whole, len(columns)
        self._weights, device = weights, weights.device
        stuck = [accumulators.get(column, ()) for column in columns]
        most = max(map(len, stuck), default=0)
        before = [
            _by_next(multipliers.get(c, ()), held) for c, held in zip(columns, stuck, strict=True)
        ]
        ones = torch.zeros(len(columns), 1, dtype=torch.int32, device=device)
        down = torch.arange(weights.shape[-1], device=device)
        self._steps: list[tuple[_Multipliers | None, _Accumulators | None]] = []
        matrices, offsets, first = [], [], 0
        for level in range(most + 1):
            ones += _bits([sum(e.ones for e in each.get(level, ())) for each in before], device)
            here = [held[level] for held in stuck if len(held) > level]
            met = _Accumulators(
                slice(first, first + len(here)), _bits([e.faulty for e in here], device)
            )
            self._steps.append((self._multipliers(before, level), met if here else None))
            if here:
                rows = torch.tensor([e.row for e in here], device=device)
                matrices.append(weights[..., : len(here), :] * (down <= rows[:, None]))
                offsets.append(ones[: len(here)].clone())
                ones[: len(here)] += _bits([e.ones for e in here], device)
            first += len(here)
        if whole:
            matrices.append(weights)
            offsets.append(ones)
        self.constant = torch.zeros_like(ones) if whole else ones
        self._matrix = None
        if matrices:
            build = WholeMatrix if weights.dim() == 2 else WholeMatrices
            self._matrix = build(torch.cat(matrices, -2), least, torch.cat(offsets))

    def __call__(
        self, operand: Int8[Tensor, "... rows m"], sums: Int32[Tensor, "... n m"] | None = None
    ) -> Int32[Tensor, "... n m"]:
        """Drops, or sums whose lower bits are right.

        Args:
            operand: Rows of the left operand; of unsigned numbers, 128 less.
            sums: Sums that come in at the top; 0 by default.
        """
        passing = None if self._matrix is None else self._matrix(operand)
        drops = None if sums is None else -sums
        for multipliers, accumulators in self._steps:
            if multipliers is not None:
                drops = self._none(operand) if drops is None else drops
                multipliers.drop_(drops, operand, self._zero)
            if accumulators is not None:
                assert passing is not None
                sums_there = passing[..., accumulators.sums, :]
                drops = self._dropped(sums_there, accumulators.faulty, drops)
        if not self._whole:
            return self._none(operand) if drops is None else drops
        assert passing is not None
        found = passing[..., -self._n :, :]
        return found if drops is None else found.sub_(drops)

    def at_rest(self) -> Int32[Tensor, "... n 1"]:
        """The moves of all outputs while no activation is other than zero."""
        operand = torch.full_like(self._weights[..., :1, :].mT, self._zero, dtype=torch.int8)
        return self.constant - self(operand)

    def _dropped(self, passing: Tensor, faulty: Tensor, drops: Tensor | None) -> Tensor:
        """Drops up to here and at the next stuck accumulators."""
        count = passing.shape[-2]
        if drops is None and count == self._n:
            return passing.bitwise_and_(faulty)
        if drops is None:
            drops = passing.new_zeros(*passing.shape[:-2], self._n, passing.shape[-1])
        here = drops[..., :count, :]
        here.add_(passing.sub_(here).bitwise_and_(faulty))
        return drops

    def _multipliers(
        self, before: Sequence[Mapping[int, Sequence[Event]]], level: int
    ) -> _Multipliers | None:
        """Stuck multipliers that come next; those of idle rows have a product of 0."""
        met = [
            (output, event)
            for output, each in enumerate(before)
            for event in each.get(level, ())
            if event.row < self._weights.shape[-1]
        ]
        if not met:
            return None
        device = self._weights.device
        outputs = torch.tensor([output for output, _ in met], device=device)
        rows = torch.tensor([event.row for _, event in met], device=device)
        weights = self._weights[..., outputs, rows].to(torch.int32)[..., None]
        return _Multipliers(outputs, rows, weights, _bits([e.faulty for _, e in met], device))

    def _none(self, operand: Tensor) -> Tensor:
        *before, _, m = operand.shape
        return operand.new_zeros(*before, self._n, m, dtype=torch.int32)


def _by_next(multipliers: Sequence[Event], accumulators: Sequence[Event]) -> dict[int, list[Event]]:
    """Stuck multipliers of a column by how many stuck accumulators are above them."""
    found: dict[int, list[Event]] = {}
    for event in multipliers:
        above = sum(accumulator.row < event.row for accumulator in accumulators)
        found.setdefault(above, []).append(event)
    return found


def _bits(patterns: Sequence[int], device: torch.device) -> Int32[Tensor, "n 1"]:
    """Patterns, or sums of them, in 32 bits that wrap around."""
    return torch.tensor(patterns, dtype=torch.int64, device=device).to(torch.int32)[:, None]
