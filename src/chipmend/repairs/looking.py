"""Looks at the validation split: how many images a share is, in which order, on which chip.

Under a margin a network is looked at with one of the worst draws of what the tester may have
missed. Draws are ranked by how far they take the network's outputs, on a few inputs, from what
these are without them. Missed PEs differ a lot in what they do, and few of them do most of the
harm, so that what is to be expected of a chip says little of the chip.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from chipmend.confidence.sequential import samples_of
from chipmend.faults.maps import FaultMap
from chipmend.faults.screening import WORSE, Margin
from chipmend.network.evaluate import evaluating, scores
from chipmend.network.samples import ChosenSamples
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.cost import Cost, forward_pass

LOOK_BATCH = 125
"""Validation samples at a time: looks are made of whole batches."""

COMPARED = 16
"""Inputs on which outputs with missed faults are compared with those without."""

On = Callable[[FaultMap], nn.Module]
"""What a network computes on a chip with some faults."""


@dataclass(slots=True)
class Looked:
    """Scores of a network on the first validation samples in the order of looks.

    Args:
        broken: What is broken on the chip that it is looked at on.
        found: What it took to find that out.
    """

    broken: FaultMap
    found: Cost
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    seconds: float = 0.0


class Looking:
    """How one chip's networks are looked at.

    Args:
        known: What is known of the clean network.
        faults: The chip's fault map.
        chip: Its identity.
        seed: The seed of the run.
        margin: What is allowed for beside the map; nothing by default.
    """

    def __init__(
        self, known: Calibration, faults: FaultMap, *, chip: str, seed: int, margin: Margin | None
    ) -> None:
        self._known, self._faults = known, faults
        self._chip, self._seed, self._margin = chip, seed, margin
        self._order = torch.from_numpy(known.task.look_order(seed))

    def samples(self, share: float) -> int:
        """Samples that decide, at a share of the split."""
        return samples_of(share, len(self._order))

    def images(self, share: float) -> int:
        """Images that a look at a share goes through: whole batches, which are always the same."""
        whole = math.ceil(self.samples(share) / LOOK_BATCH) * LOOK_BATCH
        return min(len(self._order), whole)

    def begin(self, on: On) -> Looked:
        """Find out with which faults a network is to be looked at, before any image is.

        Args:
            on: What it computes.
        """
        if self._margin is None:
            return Looked(self._faults, Cost())
        started = time.perf_counter()
        inputs = self._known.inputs_at_once(COMPARED)
        usual, draws = _outputs(on(self._faults), inputs), self._draws(self._margin)
        far = [float((_outputs(on(each), inputs) - usual).square().sum()) for each in draws]
        farthest_first = np.argsort(np.nan_to_num(far, nan=np.inf), kind="stable")[::-1]
        broken = draws[farthest_first[WORSE - 1]]
        passed = forward_pass((1 + len(draws)) * len(inputs), self._known.task)
        return Looked(broken, Cost(measure=passed, seconds=time.perf_counter() - started))

    def scores(self, network: nn.Module, seen: int, images: int) -> Float64[np.ndarray, " samples"]:
        """Scores on further images.

        Args:
            network: What the chip computes.
            seen: Images that were seen before, whole batches.
            images: How many are to be seen in the end.
        """
        task = self._known.task
        samples = ChosenSamples(task.validation, self._order[seen:images])
        return scores(network, samples, task.metric, batch=LOOK_BATCH)

    def _draws(self, margin: Margin) -> list[FaultMap]:
        return [
            margin.behind(self._faults, seed=self._seed, chip=self._chip, draw=draw)
            for draw in range(margin.draws)
        ]


def _outputs(network: nn.Module, inputs: Tensor) -> Tensor:
    with evaluating(network), torch.inference_mode():
        return network(inputs).double()
