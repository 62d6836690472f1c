"""Fault-aware mapping (FAM): permute channels so that what is least salient meets faulty PEs.

A permutation of coupled channels leaves the network's function alone and moves its weights over the
array. Given all other permutations, the best one is a linear assignment: what it costs to put
channel ``a`` where channel ``b`` was is the saliency of ``a``'s weights on the PEs that ``b``'s
were on. Couplings are gone through until nothing improves.

The network itself stays as it is: what is permuted is which of its weights are lost.

References:
    [Hanif2020] Hanif, Shafique, "SalvageDNN: salvaging deep neural network accelerators with
        permanent faults through saliency-driven fault-aware mapping", Phil. Trans. R. Soc. A
        378(2164), 2020.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chipmend.network.coupling import Coupling, Moved, Positions
from chipmend.repairs.one_shot import CleanLayer
from chipmend.repairs.prune import Pruned

MOST_SWEEPS = 20
LEAST_GAIN = 1e-4
"""Share of the saliency lost that a reassignment has to save."""


@dataclass(frozen=True, eq=False)
class Remapped:
    """A mapping of a network's channels for one fault map.

    Args:
        positions: Where the channels of each coupling go.
        pruned: The weights that are lost then, in the network's own order of channels.
        multiply_adds: What it took to find.
    """

    positions: Positions
    pruned: dict[str, Tensor]
    multiply_adds: int


def remapped(
    pruned: Pruned,
    saliency: Mapping[str, Float[Tensor, "..."]],
    couplings: Sequence[Coupling],
    together: Mapping[str, CleanLayer] | None = None,
    *,
    sweeps: int = 0,
) -> Remapped:
    """Find where the channels should go.

    Args:
        pruned: The weights that are lost as the network stands.
        saliency: What losing each weight costs; of the weights' shapes, at least zero.
        couplings: Channels that can change places.
        together: Clean layers that can tell what an output's lost weights cost together, in the
            units of the saliency.
        sweeps: How often the couplings are gone through by that in the end.

    Returns:
        The mapping; as the network stands, if nothing is better.
    """
    search = _Search(pruned, saliency, couplings)
    for _ in range(MOST_SWEEPS):
        improved = [search.improve(place) for place in range(len(couplings))]
        if not any(improved):
            break
    search.together = together or {}
    for _ in range(sweeps):
        for place in range(len(couplings)):
            search.improve(place)
    return Remapped(tuple(search.positions), search.lost, search.work)


def moved_with(
    pruned: Pruned, moved: tuple[Sequence[Coupling], Positions] | None
) -> dict[str, Tensor]:
    """The weights that are lost once channels were moved, in the network's own order of them.

    Args:
        pruned: The weights that are lost as the network stands.
        moved: Channels that can change places, and where they went; none did by default.
    """
    lost = dict(pruned)
    for coupling, position in zip(*(moved or ((), ())), strict=True):
        for each in coupling.moved:
            if each.name in lost:
                lost[each.name] = each.moved_to(lost[each.name], np.argsort(position))
    return lost


class _Search:
    """The mapping found so far, and the weights that it loses."""

    def __init__(
        self, pruned: Pruned, saliency: Mapping[str, Tensor], couplings: Sequence[Coupling]
    ) -> None:
        self._saliency, self._couplings = saliency, couplings
        self.together: Mapping[str, CleanLayer] = {}
        self.lost = dict(pruned)
        self.positions = [np.arange(len(coupling.block)) for coupling in couplings]
        self.work = 0

    def improve(self, place: int) -> bool:
        """Reassign one coupling's channels, if that loses less."""
        from scipy.optimize import linear_sum_assignment  # slow to import

        coupling = self._couplings[place]
        placed = [moved for moved in coupling.moved if moved.name in self.lost]
        costs = np.where(
            coupling.block[:, None] == coupling.block,
            sum(self._costs(moved) for moved in placed),
            np.inf,
        )
        taken = linear_sum_assignment(costs)[1]
        self.work += len(costs) ** 3  # that of the shortest augmenting paths, at most
        had, has = (costs[np.arange(len(costs)), at].sum() for at in (np.arange(len(costs)), taken))
        if has >= had * (1 - LEAST_GAIN):
            return False
        lost = dict(self.lost)
        for moved in placed:
            lost[moved.name] = moved.moved_to(lost[moved.name], np.argsort(taken))
        names = [moved.name for moved in placed]
        if len(set(names)) < len(names) and self._lost(lost, names) >= self._lost(self.lost, names):
            return False  # a weight between the same channels: no linear assignment tells its cost
        self.lost = lost
        self.positions[place] = self.positions[place][taken]
        return True

    def _costs(self, moved: Moved) -> Float[np.ndarray, "channels channels"]:
        """What each channel of one weight would lose in the place of each other."""
        if self._is_together(moved):
            lost = self.lost[moved.name].flatten(1)
            losses, work = self.together[moved.name].losses_together(lost)
            self.work += work
            return losses.double().cpu().numpy()[np.ix_(moved.index[:, 0], moved.index[:, 0])]
        device = self.lost[moved.name].device
        here = torch.from_numpy(moved.index >= 0).to(device)[:, :, None]
        index = torch.from_numpy(moved.index.clip(min=0)).to(device)
        salient = moved.channels_first(self._saliency[moved.name]).flatten(1)[index] * here
        lost = moved.channels_first(self.lost[moved.name]).flatten(1)[index] & here
        self.work += len(index) * salient.numel()
        return (salient.flatten(1) @ lost.flatten(1).to(salient.dtype).mT).double().cpu().numpy()

    def _lost(self, lost: Mapping[str, Tensor], names: Sequence[str]) -> float:
        """Saliency that some weights lose, each counted once."""
        return sum(float(self._saliency[name][lost[name]].sum()) for name in {*names})

    def _is_together(self, moved: Moved) -> bool:
        """Whether the channels are the outputs of a dense layer that can tell."""
        if moved.name not in self.together or moved.axis != 0:
            return False
        each = moved.index.shape[1] == 1 and bool((moved.index >= 0).all())
        return each and len(self.together[moved.name].mean) == 1
