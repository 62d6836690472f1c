"""What every search does: it is asked for designs, and told what they come to.

Between the two, evaluations run wherever there is room. A search that is told the same in the same
order asks for the same.
"""

from collections.abc import Iterable
from typing import Protocol

from chipmend.protect.design.evaluation import Evaluation
from chipmend.protect.design.parameters import Design


class Search(Protocol):
    """Looks for the design of least area that meets all targets."""

    def ask(self) -> Design | None:
        """The next design to evaluate, not asked for before; none if no other is of any use."""
        ...

    def tell(self, evaluation: Evaluation) -> None:
        """Tell what a design comes to, whether it was asked for or not."""
        ...


def best(evaluations: Iterable[Evaluation]) -> Evaluation | None:
    """The evaluated design of least area that meets all targets, if any does."""
    met = [each for each in evaluations if each.meets]
    return min(met, key=lambda each: each.costs.area.total, default=None)
