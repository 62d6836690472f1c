"""What fields of steps have to be, and the errors that say so."""

import math

from chipmend.errors import PlanError

LEAST_SAMPLES = 16
"""Inputs below which second moments say next to nothing."""


def check_count(what: str, count: object, least: int = 1) -> None:
    """Refuse what is no count."""
    if not isinstance(count, int) or isinstance(count, bool) or count < least:
        raise PlanError(f"{what}: {count!r}", hint=f"give a whole number, at least {least}")


def check_samples(what: str, samples: object, least: int = 2) -> None:
    """Refuse what is no number of samples."""
    if not isinstance(samples, int) or samples < least:
        raise PlanError(
            f"{what}: {samples!r} samples are too few",
            hint=f"give a whole number, at least {least}",
        )


def check_share(what: str, share: float) -> None:
    """Refuse what is no share."""
    if not (math.isfinite(share) and share >= 0):
        raise PlanError(f"{what} {share}", hint="give a finite number from 0 up; 0.01 is common")
