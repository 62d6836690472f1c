"""Search without BoTorch: a Sobol sequence through the space, then the next smaller design."""

import numpy as np
from scipy.stats import qmc

from chipmend.hardware.array import Array
from chipmend.protect.design.evaluation import Evaluation
from chipmend.protect.design.parameters import DIMENSIONS, Design, Space
from chipmend.protect.search.candidates import Candidates
from chipmend.protect.search.protocol import best

SOBOL = 12
"""Designs that are taken from the sequence."""
DRAWN = 1024
"""Points of the sequence, most of which are no candidates or seen before."""


class SobolGreedy:
    """Goes through the space evenly, then from the best found to those of less area.

    How much expected harm is too much lies between that of the best so far and the least of any
    design that missed. Asked for is the smallest candidate up to the middle of the two, in powers
    of ten; as long as none suffices, the one of least harm.

    Args:
        candidates: The candidates.
        space: The space.
        array: The array of the plan.
        seed: Of the sequence.
    """

    def __init__(self, candidates: Candidates, space: Space, array: Array, *, seed: int) -> None:
        self._candidates, self._told = candidates, dict[Design, Evaluation]()
        self._asked = set[Design]()
        points = qmc.Sobol(DIMENSIONS, rng=np.random.default_rng(seed)).random(DRAWN).tolist()
        designs = (space.at(array, point) for point in points)
        sequence = dict.fromkeys(candidates.same.get(design, design) for design in designs)
        self._sequence = [design for design in sequence if design in candidates.at][:SOBOL][::-1]

    def ask(self) -> Design | None:
        """The next design to evaluate; none if no other can be smaller than the best so far."""
        while self._sequence:
            if (found := self._sequence.pop()) not in self._asked:
                self._asked.add(found)
                return found
        left = [e for e in self._candidates.known if e.design not in self._asked]
        if (so_far := best(self._told.values())) is None:
            left.sort(key=lambda e: e.harm)
        else:
            least, bound = so_far.costs.area.total, self._bound(so_far)
            left = [e for e in left if e.costs.area.total < least]
            left.sort(key=lambda e: (e.harm > bound, e.costs.area.total))
        if not left:
            return None
        self._asked.add(left[0].design)
        return left[0].design

    def tell(self, evaluation: Evaluation) -> None:
        """Tell what a design comes to."""
        self._told[evaluation.design] = evaluation
        self._asked.add(evaluation.design)

    def _bound(self, so_far: Evaluation) -> float:
        """The expected harm up to which designs are tried first."""
        missed = [e.harm for e in self._told.values() if not e.meets and e.harm > so_far.harm]
        return (so_far.harm * min(missed)) ** 0.5 if missed else so_far.harm
