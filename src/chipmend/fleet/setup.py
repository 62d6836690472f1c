"""What a campaign does, apart from how it is executed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from chipmend.confidence.constraint import Constraint
from chipmend.errors import ChipmendError, PlanError
from chipmend.faults.screening import Margin
from chipmend.hardware.array import Array
from chipmend.policy.by_table import ByTable
from chipmend.policy.protocol import Policy, check_policies
from chipmend.resilience.analysis import Analysis


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a campaign does, apart from how it is executed.

    Args:
        array: The array and its placement.
        constraint: What each chip has to reach.
        policies: Who decides; each under a name of its own.
        analysis: The resilience analysis, for policies that need a table.
        seed: The seed of everything random.
        hindsight: Whether to read, for the report, how much would have sufficed for each chip.
        margin: What decisions allow for beside fault maps; nothing by default.
    """

    array: Array
    constraint: Constraint
    policies: Sequence[Policy]
    analysis: Analysis = field(default_factory=Analysis)
    seed: int = 0
    hindsight: bool = True
    margin: Margin | None = None

    def __post_init__(self) -> None:
        check_policies(self.policies)
        object.__setattr__(self, "policies", tuple(map(self._trained_as_analysed, self.policies)))
        for policy in self.policies:
            self._check_analysis_of(policy)

    def _check_analysis_of(self, policy: Policy) -> None:
        try:
            policy.analysis(self.analysis, self.constraint)
        except ChipmendError as error:
            raise PlanError(f"{policy.name}: {error.message}", hint=error.hint) from error

    def _trained_as_analysed(self, policy: Policy) -> Policy:
        """Policies train as the analysis of their table does, unless they say how it shall."""
        if not isinstance(policy, ByTable) or policy.retrain is not None:
            return policy
        return replace(policy, retrain=replace(self.analysis.retrain, epochs=1.0))
