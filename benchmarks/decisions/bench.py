"""What all parts share: network, data, array, constraint, and where runs are kept.

Quarter-width VGG11 on Fashion-MNIST, 32 x 32 PEs; of the validation split 2,500 images, so that
thousands of chips can be looked at. Two workers of one thread each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import chipmend as cm
from chipmend.cli.bars import Bars
from chipmend.faults.generate import Spatial
from chipmend.fleet import Outcome
from chipmend.fleet.ledger import PolicySum
from chipmend.network.samples import ChosenSamples
from chipmend.repairs import effective_rate, weights_per_pe
from chipmend.resilience import Analysis, ResilienceTable

LOOKED_AT = 2500
"""Validation images."""
WITHIN = cm.Drop(0.018)
LENIENT = cm.Drop(0.03)
"""What policies are to keep that go by amounts of retraining: that takes fewer epochs."""
GRID = Analysis(
    rates=(0.02, 0.05, 0.1, 0.15, 0.2, 0.25), amounts=(0.0, 0.025, 0.05, 0.1, 0.2, 0.3), repeats=5
)
SMALL_GRID = replace(GRID, rates=(0.05, 0.25), amounts=(0.0, 0.1, 0.3), repeats=2)
KINDS: dict[str, Spatial] = {
    "uniform": cm.Uniform(),
    "clustered": cm.Clustered(),
    "lines": cm.Lines(),
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark.

    Args:
        folder: Where campaigns are kept, so that they go on where they were.
        quick: Whether a few chips do.
    """

    folder: Path
    quick: bool

    @cached_property
    def task(self) -> cm.Task:
        """The network and its data."""
        data = cm.fashion_mnist()
        few = torch.arange(LOOKED_AT)
        return cm.Task(
            cm.trained("vgg11").eval(),
            train=data.train,
            validation=ChosenSamples(data.validation, few),
            test=data.test,
        )

    @property
    def array(self) -> cm.Array:
        """The array."""
        return cm.Array(rows=32, cols=32)

    @property
    def grid(self) -> Analysis:
        """The resilience analysis."""
        return SMALL_GRID if self.quick else GRID

    @cached_property
    def per_pe(self) -> np.ndarray:
        """Weights on each PE."""
        return weights_per_pe(self.task.model, self.array)

    def chips(self, count: int) -> int:
        """How many chips, of so many in a full run."""
        return max(2, count // 50) if self.quick else count

    def dies(self, chips: Sequence[cm.Chip]) -> list[Any]:
        """Chips as policies see them."""
        from chipmend.policy import Die

        return [
            Die(chip, effective_rate(self.per_pe, chip.faults.unusable), 0.0, self.per_pe)
            for chip in chips
        ]

    def table(self, name: str, analysis: Analysis) -> ResilienceTable:
        """The table of an analysis, measured now or before."""
        with Bars() as bars:
            return cm.analyze(
                self.task,
                array=self.array,
                analysis=analysis,
                run=self.folder / name,
                workers=2,
                threads=1,
                progress=bars,
            )

    def mended(
        self, name: str, chips: Sequence[cm.Chip], policies: Sequence[Any], **how: Any
    ) -> Outcome:
        """A campaign, run now or before."""
        given = {"array": self.array, "constraint": WITHIN, "analysis": self.grid, **how}
        with Bars() as bars:
            return cm.mend(
                self.task,
                chips,
                policies=policies,
                run=self.folder / name,
                workers=2,
                threads=1,
                hindsight=False,
                verify="none",
                progress=bars,
                **given,
            )


def row_of(part: str, s: PolicySum, **more: Any) -> Row:
    """What a policy came to, as a row of the result."""
    return {
        "part": part,
        **more,
        "policy": s.policy,
        "chips": s.chips,
        "shipped": s.shipped,
        "met": s.met,
        "bins": s.bins,
        "accuracy_mean": s.accuracy_mean,
        "accuracy_min": s.accuracy_min,
        "ee_per_chip": s.ee_per_chip,
        "ee_shared": s.ee_shared,
        "seconds_per_chip": s.seconds / s.chips,
    }
