"""The designs of a space that may meet the targets, with what is known of each at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from chipmend.hardware.array import Array
from chipmend.protect.design.evaluation import Evaluation, Evaluator
from chipmend.protect.design.parameters import Design, Space

MOST = 20000
"""Of more designs than that, those with a dot-product unit are drawn by chance."""
LEAST_HARM = 1e-9


@dataclass(frozen=True, eq=False)
class Candidates:
    """Designs, each once, those that are known to miss a target left out.

    Args:
        known: What is known of each.
        left_out: How many more there are, that were not drawn.
        same: For designs of the space, what is left of them without what has no effect.
    """

    known: Sequence[Evaluation]
    left_out: int = 0
    same: Mapping[Design, Design] = field(default_factory=dict)

    @classmethod
    def of(cls, space: Space, array: Array, evaluator: Evaluator, *, seed: int) -> "Candidates":
        """Those of a space.

        Args:
            space: The space.
            array: The array of the plan.
            evaluator: What is to evaluate them.
            seed: Draws some of them where there are too many.
        """
        fitting = (design for design in space.designs(array) if evaluator.fits(design))
        all_known = {design: evaluator.known(design) for design in fitting}
        every = {known.design: known for known in all_known.values() if known.meets}
        same = {design: known.design for design, known in all_known.items()}
        simple = [known for known in every.values() if not known.design.lanes]
        units = [known for known in every.values() if known.design.lanes]
        kept = units
        if len(every) > MOST:
            count = max(0, MOST - len(simple))
            some = np.random.default_rng(seed).choice(len(units), count, replace=False)
            kept = [units[at] for at in sorted(some)]
        return cls([*simple, *kept], len(units) - len(kept), same)

    def __len__(self) -> int:
        return len(self.known)

    @cached_property
    def at(self) -> dict[Design, int]:
        """Where each design is."""
        return {each.design: place for place, each in enumerate(self.known)}

    @cached_property
    def areas(self) -> Float64[np.ndarray, " designs"]:
        """Their areas."""
        return np.array([each.costs.area.total for each in self.known])

    @cached_property
    def harms(self) -> Float64[np.ndarray, " designs"]:
        """What they are expected to let through, as logarithms."""
        return np.log10([each.harm + LEAST_HARM for each in self.known])

    @cached_property
    def features(self) -> Float64[np.ndarray, "designs features"]:
        """What accuracy is learned from: parameters and expected harm, from 0 to 1."""
        rows = np.array([_features(each.design) for each in self.known])
        rows = np.column_stack([self.harms, rows])
        low, high = rows.min(0), rows.max(0)
        varying = high > low
        return (rows[:, varying] - low[varying]) / (high - low)[varying]

    @cached_property
    def front(self) -> list[int]:
        """Those that no other beats in both area and expected harm, the smallest first."""
        found, least = list[int](), np.inf
        for place in np.lexsort((self.harms, self.areas)):
            if self.harms[place] < least:
                least = self.harms[place]
                found.append(int(place))
        return found


def _features(design: Design) -> list[float]:
    return [
        design.rows,
        design.cols,
        design.accumulator_bits,
        design.sign_extension,
        design.bare_bits,
        design.ordinary_bits,
        np.log1p(1000 * design.important),
        design.spread == "layer",
        design.important_bits,
        np.log1p(design.lanes),
        design.shifts,
        design.activation_range,
        ("bare", "parity", "ecc").index(design.buffers),
    ]
