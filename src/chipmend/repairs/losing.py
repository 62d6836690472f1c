"""Networks that lose operands of their products of activations, and make up for it ahead.

What values lose, the closed form makes up for in the layer behind, which sees what is left of
them; what keys lose is made up for in the queries that they meet.
"""

import time
from collections.abc import Mapping
from functools import cached_property

from torch import nn

from chipmend.network.dynamic import Lost, lose_in_products_
from chipmend.recipes import has_made_up_for_losses
from chipmend.repairs.calibration import QUERIED, Calibration
from chipmend.repairs.cost import Cost, forward_pass
from chipmend.repairs.one_shot import CleanLayer
from chipmend.repairs.queries import (
    Mixing,
    fitted_queries,
    mix_,
    with_mixed_outputs,
    with_mixed_weights,
)
from chipmend.repairs.sequential import Targets
from chipmend.steps import OneShot, Recipe


class Losing:
    """The clean network as one chip runs it.

    Args:
        known: What is known of the clean network.
        lost: What right operands lose on the chip.
    """

    def __init__(self, known: Calibration, lost: Lost) -> None:
        self._known, self.lost = known, lost

    def fresh(self) -> nn.Module:
        """A copy of the clean network that loses what its products of activations lose."""
        network = self._known.task.fresh_network()
        if self._known.has_dynamic_products:
            lose_in_products_(network, self.lost)
        return network

    def fit_queries_(self, network: nn.Module) -> Cost:
        """Fit the queries of such a copy to what is left of keys, in place; what that costs."""
        mixing, cost = self._fitted
        mix_(network, mixing)
        return cost

    def meant(self, recipe: Recipe, samples: int, places: int) -> tuple[nn.Module, Targets]:
        """What a network is meant to compute after a recipe: the clean one, or it once fitted."""
        known = self._known
        if not has_made_up_for_losses(recipe) or not self._fitted[0]:
            return known.task.model, known.targets(samples, places)
        network = known.task.fresh_network()
        mix_(network, self._fitted[0])
        return network, self.targets(samples, places)

    def targets(self, samples: int, places: int) -> Targets:
        """What its layers have to give out once queries are fitted."""
        return with_mixed_outputs(self._known.targets(samples, places), self._fitted[0])

    def layers(self, form: OneShot) -> Mapping[str, CleanLayer]:
        """Its layers once queries are fitted."""
        return with_mixed_weights(self._known.layers(form), self._fitted[0])

    @cached_property
    def _fitted(self) -> tuple[Mixing, Cost]:
        known = self._known
        if not known.queries:
            return {}, Cost()
        started = time.perf_counter()
        inputs = known.inputs_at_once(QUERIED)
        mixing, work = fitted_queries(known.task.model, inputs, known.queries, self.lost)
        passing, seconds = forward_pass(len(inputs), known.task), time.perf_counter() - started
        return mixing, Cost(recalibrate=passing, algebra=known.algebra(work), seconds=seconds)
