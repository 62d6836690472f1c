"""Looks at the validation split: how many images a share is, in which order, on which chip.

Under a margin each batch of images meets another draw of what the tester may have missed, so that
a look says what is to be expected of the chip, without one more forward pass.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

from chipmend.confidence.sequential import samples_of
from chipmend.faults.maps import FaultMap
from chipmend.faults.screening import Margin
from chipmend.network.evaluate import scores
from chipmend.network.samples import ChosenSamples
from chipmend.network.task import Task

LOOK_BATCH = 125
"""Validation samples at a time: looks are made of whole batches."""


@dataclass(slots=True)
class Looked:
    """Scores of a network on the first validation samples in the order of looks."""

    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    seconds: float = 0.0


class Looking:
    """How one chip's networks are looked at.

    Args:
        task: The task.
        faults: The chip's fault map.
        chip: Its identity.
        seed: The seed of the run.
        margin: What is allowed for beside the map; nothing by default.
    """

    def __init__(
        self, task: Task, faults: FaultMap, *, chip: str, seed: int, margin: Margin | None
    ) -> None:
        self._task, self._faults = task, faults
        self._chip, self._seed, self._margin = chip, seed, margin
        self._order = torch.from_numpy(task.look_order(seed))

    def samples(self, share: float) -> int:
        """Samples that decide, at a share of the split."""
        return samples_of(share, len(self._order))

    def images(self, share: float) -> int:
        """Images that a look at a share goes through: whole batches, which are always the same."""
        whole = math.ceil(self.samples(share) / LOOK_BATCH) * LOOK_BATCH
        return min(len(self._order), whole)

    def scores(
        self, on: Callable[[FaultMap], nn.Module], seen: int, images: int
    ) -> Float64[np.ndarray, " samples"]:
        """Scores on further images.

        Args:
            on: What a chip with some faults computes.
            seen: Images that were seen before, whole batches.
            images: How many are to be seen in the end.
        """
        more, found = self._order[seen:images], []
        parts = [more] if self._margin is None else more.split(LOOK_BATCH)
        for draw, part in enumerate(parts, seen // LOOK_BATCH):
            samples = ChosenSamples(self._task.validation, part)
            network = on(self._may_be(draw))
            found.append(scores(network, samples, self._task.metric, batch=LOOK_BATCH))
        return np.concatenate(found)

    def _may_be(self, draw: int) -> FaultMap:
        if self._margin is None:
            return self._faults
        return self._margin.behind(self._faults, seed=self._seed, chip=self._chip, draw=draw)
