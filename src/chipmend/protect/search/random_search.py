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
    """

    def __init__(self, candidates: Candidates, *, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(candidates))
        self._left = [candidates.known[at].design for at in order[::-1]]
        self._told = set[Design]()

    def ask(self) -> Design | None:
        """The next design to evaluate; none if all were."""
        while self._left:
            if (found := self._left.pop()) not in self._told:
                return found
        return None

    def tell(self, evaluation: Evaluation) -> None:
        """Tell what a design comes to."""
        self._told.add(evaluation.design)
