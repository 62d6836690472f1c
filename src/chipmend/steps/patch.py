"""Re-mending: a chip that has shipped before goes on from the network that it has."""

from dataclasses import dataclass, field
from typing import Literal

from chipmend.steps.repair import OneShot


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Take the network that the chip was shipped, and make up for what it has lost since.

    Only what was changed by new faults is done again, every layer alone as in ``OneShot``; codes
    are chosen anew where words read other numbers than they did.

    Args:
        bundle: Digest of the bundle that the network was shipped in.
        in_codes: Whether it is one of whole numbers.
        moments: How the layers' inputs are known.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    bundle: str
    in_codes: bool = False
    moments: OneShot = field(default_factory=OneShot)
    kind: Literal["patch"] = "patch"
