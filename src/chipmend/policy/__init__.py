"""Who decides how much repair each chip gets."""

from chipmend.policy.cascade import Cascade
from chipmend.policy.efat import EFat
from chipmend.policy.fixed import Fixed, FixedSteps
from chipmend.policy.looks import Looks
from chipmend.policy.protocol import (
    Action,
    Die,
    Group,
    Observation,
    Policy,
    Scrap,
    Ship,
    check_policies,
    each_alone,
)
from chipmend.policy.reduce import Reduce
from chipmend.policy.until_met import UntilMet

__all__ = [
    "Action",
    "Cascade",
    "Die",
    "EFat",
    "Fixed",
    "FixedSteps",
    "Group",
    "Looks",
    "Observation",
    "Policy",
    "Reduce",
    "Scrap",
    "Ship",
    "UntilMet",
    "check_policies",
    "each_alone",
]
