"""Fusing: which chips share one network, since all of them together need less than each alone.

What avoids the faults of several chips runs on every one of them. The pair of chips, or of groups,
that saves most is fused, again and again, as long as anything is saved [Hanif2023].

References:
    [Hanif2023] Hanif, Shafique, "eFAT: improving the effectiveness of fault-aware training for
        mitigating permanent faults in DNN hardware accelerators", arXiv 2304.12949.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from chipmend.errors import PlanError
from chipmend.policy.protocol import Die

Amounts = Callable[[Float64[np.ndarray, "*any"]], Float64[np.ndarray, "*any"]]
"""What groups need, by the share of the network's weights on faulty PEs: never less for more, and
infinite where nothing would do."""
LEAST_SAVED = 1e-9
"""Epoch-equivalents below which nothing is saved."""
MOST = 1000
"""Chips that are looked at together: those of neighbouring wafers, where a lot has more."""
_EXACT = 2**24
"""Whole numbers up to here add up exactly in single precision, in whatever order."""


@dataclass(frozen=True, slots=True)
class Fused:
    """Dies that share a network.

    Args:
        dies: The dies.
        rate: Share of the network's weights on what is faulty in any of them.
    """

    dies: tuple[Die, ...]
    rate: float


def fused_dies(dies: Sequence[Die], amounts: Amounts) -> list[Fused]:
    """Fuse dies while that saves anything; those with stuck bits stay alone.

    Args:
        dies: The dies; their order does not count.
        amounts: What a group needs.

    Returns:
        Every die in one group, in the order of lot, wafer and identity.

    Raises:
        PlanError: Nobody said how many weights lie on each PE.
    """
    ordered = sorted(dies, key=lambda die: (die.chip.lot, die.chip.wafer, die.chip.id))
    own = [Fused((die,), die.effective_rate) for die in ordered if die.chip.faults.needs_codes]
    free = [die for die in ordered if not die.chip.faults.needs_codes]
    parts = [free[first : first + MOST] for first in range(0, len(free), MOST)]
    return own + [fused for part in parts for fused in _fused(part, amounts)]


def _fused(dies: Sequence[Die], amounts: Amounts) -> list[Fused]:
    if (weights := dies[0].weights_per_pe) is None:
        raise PlanError(
            "dies that do not say how many weights lie on their PEs cannot be fused",
            hint="give weights_per_pe of every die",
        )
    faulty = np.stack([die.chip.faults.unusable.ravel() for die in dies])
    found = []
    for group in groups_of(faulty, weights.ravel(), amounts):
        lost = int(weights.ravel()[faulty[group].any(axis=0)].sum())
        found.append(Fused(tuple(dies[at] for at in group), lost / max(1, int(weights.sum()))))
    return found


def groups_of(
    faulty: Bool[np.ndarray, "chips pes"],
    weights: Int64[np.ndarray, " pes"],
    amounts: Amounts,
) -> list[list[int]]:
    """Fuse chips, best pair first, while that saves anything.

    The reward of a pair is what both need, less what their union does. Of pairs that save the same,
    the one whose union is damaged least goes first.

    Args:
        faulty: PEs that each chip must not use.
        weights: Weights of the network on each PE, 2^24 at most.
        amounts: What a group needs.

    Returns:
        The chips of each group by their numbers, ascending, the groups by their first chips. Takes
        4 bytes for every PE of every chip, and 16 for every pair.
    """
    merging = _Merging(faulty, weights, amounts)
    while (pair := merging.best()) is not None:
        merging.fuse(*pair)
    return merging.groups()


def union_rates(
    faulty: Bool[np.ndarray, "chips pes"], weights: Int64[np.ndarray, " pes"]
) -> Float64[np.ndarray, "chips chips"]:
    """Share of the network's weights on what is faulty in either of two chips, for all pairs.

    Args:
        faulty: PEs that each chip must not use.
        weights: Weights of the network on each PE, 2^24 at most.

    Example:
        >>> union_rates(np.array([[True, False, False], [False, True, False]]), np.array([2, 1, 1]))
        array([[0.5 , 0.75],
               [0.75, 0.25]])
    """
    return _unions(_overlaps(faulty.astype(np.float32), weights), weights)


def _overlaps(
    faulty: Float32[np.ndarray, "chips pes"], weights: Int64[np.ndarray, " pes"]
) -> Float64[np.ndarray, "chips chips"]:
    """Weights on what is faulty in both of two chips: exact, whatever the order of sums."""
    found = np.zeros((len(faulty),) * 2)
    for part in _parts(weights):
        held = faulty[:, part]
        found += (held * weights[part].astype(np.float32)) @ held.T
    return found


def _unions(
    overlaps: Float64[np.ndarray, "chips chips"], weights: Int64[np.ndarray, " pes"]
) -> Float64[np.ndarray, "chips chips"]:
    alone = np.diag(overlaps)
    return (alone[:, None] + alone - overlaps) / max(1, int(weights.sum()))


def _parts(weights: Int64[np.ndarray, " pes"]) -> list[slice]:
    """Runs of PEs whose weights are few enough to be counted in single precision."""
    size = max(1, _EXACT // max(1, int(weights.max(initial=0))))
    return [slice(first, first + size) for first in range(0, len(weights), size)]


class _Merging:
    """Groups while they are fused: each is kept in the place of its first chip."""

    def __init__(
        self,
        faulty: Bool[np.ndarray, "chips pes"],
        weights: Int64[np.ndarray, " pes"],
        amounts: Amounts,
    ) -> None:
        self._faulty, self._weights = faulty.astype(np.float32), weights
        self._amounts = amounts
        self._total = max(1, int(weights.sum()))
        overlaps = _overlaps(self._faulty, weights)
        self._lost = np.diag(overlaps).copy()
        self._members: list[list[int]] = [[chip] for chip in range(len(faulty))]
        self._unions = _unions(overlaps, weights)
        self._needed = amounts(self._lost / self._total)
        self._saved = self._rewards(self._needed[:, None], self._needed, self._unions)
        np.fill_diagonal(self._saved, -np.inf)

    def best(self) -> tuple[int, int] | None:
        """The pair that saves most; none if none saves anything."""
        most = self._saved.max(initial=-np.inf)
        if most <= LEAST_SAVED:
            return None
        alike = np.where(self._saved >= most - LEAST_SAVED, self._unions, np.inf)
        one, other = divmod(int(alike.argmin()), len(alike))
        return min(one, other), max(one, other)

    def fuse(self, kept: int, taken: int) -> None:
        """Put what is in one place into the other."""
        np.maximum(self._faulty[kept], self._faulty[taken], out=self._faulty[kept])
        self._members[kept] += self._members[taken]
        self._members[taken] = []
        for each in (self._saved[taken], self._saved[:, taken]):
            each[:] = -np.inf
        left = np.array([bool(chips) for chips in self._members])
        overlaps = self._overlaps_with(kept)
        self._lost[kept] = overlaps[kept]
        self._needed[kept] = self._amounts(self._lost[kept : kept + 1] / self._total)[0]
        unions = (self._lost[kept] + self._lost - overlaps) / self._total
        saved = self._rewards(self._needed[kept], self._needed, unions)
        saved[~left] = saved[kept] = -np.inf
        self._unions[kept], self._unions[:, kept] = unions, unions
        self._saved[kept], self._saved[:, kept] = saved, saved

    def groups(self) -> list[list[int]]:
        """The chips of each group."""
        return [sorted(chips) for chips in self._members if chips]

    def _overlaps_with(self, one: int) -> Float64[np.ndarray, " chips"]:
        found = np.zeros(len(self._faulty))
        for part in _parts(self._weights):
            held = self._faulty[one, part] * self._weights[part].astype(np.float32)
            found += self._faulty[:, part] @ held
        return found

    def _rewards(
        self,
        one: Float64[np.ndarray, "*any"],
        other: Float64[np.ndarray, "*any"],
        unions: Float64[np.ndarray, "*any"],
    ) -> Float64[np.ndarray, "*any"]:
        """What fusing saves; what cannot be fused saves less than nothing."""
        together = self._amounts(unions)
        with np.errstate(invalid="ignore"):  # of infinite amounts
            saved = one + other - together
        return np.where(np.isfinite(together), saved, -np.inf)
