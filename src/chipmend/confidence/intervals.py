"""How sure a mean over a finite validation set is.

Confidence speaks of images: the mean margin over a sample of images against the mean over all
images of the kind. The normal approximation serves: validation sets have thousands of images, and
margins are bounded.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a look at the validation split said.

    Args:
        accuracy: Mean score of the network.
        margin: Mean of the margins to the constraint, one per sample; it holds where >= 0.
        deviation: Standard deviation of the margins over samples.
        samples: How many samples.
    """

    accuracy: float
    margin: float
    deviation: float
    samples: int

    @classmethod
    def of(
        cls, scores: Float[np.ndarray, " samples"], margins: Float[np.ndarray, " samples"]
    ) -> "Measured":
        """Sum up the scores and the margins of a look."""
        deviation = float(np.std(margins, ddof=1)) if len(margins) > 1 else math.inf
        return cls(float(np.mean(scores)), float(np.mean(margins)), deviation, len(margins))


def lower_bound(measured: Measured, alpha: float) -> float:
    """Greatest margin that the true mean margin exceeds with confidence ``1 - alpha``.

    Args:
        measured: A look.
        alpha: Probability allowed for the true mean to lie below the bound.

    Returns:
        The bound; minus infinity from a single sample.

    Example:
        >>> round(lower_bound(Measured(0.9, 0.02, 0.3, 900), alpha=0.05), 4)
        0.0036
    """
    return measured.margin - NormalDist().inv_cdf(1 - alpha) * measured.deviation / math.sqrt(
        measured.samples
    )
