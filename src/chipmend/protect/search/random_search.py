"""Search by chance: what every other search has to beat."""

import numpy as np

from chipmend.protect.design.evaluation import Evaluation
from chipmend.protect.design.parameters import Design
from chipmend.protect.search.candidates import Candidates


class RandomSearch:
    """Asks for candidates by chance, each once.

    Args:
        candidates: The candidates.
        seed: Of the order.
        smaller: Whether only those are asked for that are smaller than the best so far, since areas
            are known: the stronger opponent.
    """

    def __init__(self, candidates: Candidates, *, seed: int, smaller: bool = False) -> None:
        order = np.random.default_rng(seed).permutation(len(candidates))
        self._left = [candidates.known[at] for at in order[::-1]]
        self._told, self._smaller, self._least = set[Design](), smaller, np.inf

    def ask(self) -> Design | None:
        """The next design to evaluate; none if all were."""
        while self._left:
            found = self._left.pop()
            if found.design not in self._told and found.costs.area.total < self._least:
                return found.design
        return None

    def tell(self, evaluation: Evaluation) -> None:
        """Tell what a design comes to."""
        self._told.add(evaluation.design)
        if self._smaller and evaluation.meets:
            self._least = min(self._least, evaluation.costs.area.total)
