"""Accuracy of a network while bits flip, against the same network without: paired, until sure."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from chipmend.confidence.constraint import Drop
from chipmend.network.evaluate import Metric, accuracy, checked_scores
from chipmend.network.integer.network import IntegerNetwork
from chipmend.protect.design.protection import Protection, upsets
from chipmend.protect.vulnerability.slopes import Batch
from chipmend.simulate.upsets import UpsetArray

LOOK_AFTER = 1024
"""Samples between two looks."""
DOUBT, FAR = 1e-4, 4.0
"""No more samples are computed once a drop is that surely small enough, or is larger than allowed
by so many standard errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """How much accuracy falls.

    Args:
        drop: By how much the mean score is lower than that of the reference.
        error: Its standard error.
        p_value: Probability of such a drop or a smaller one, if it were just more than allowed.
        samples: How many samples were computed.
        right: The mean score under faults.
    """

    drop: float
    error: float
    p_value: float
    samples: int
    right: float


def fall(
    protection: Protection,
    batches: list[Batch],
    clean: Float64[np.ndarray, " samples"],
    allowed: float,
    *,
    seed: int,
    whole: bool = False,
    metric: Metric = accuracy,
) -> Fall:
    """Measure by how much accuracy falls while bits flip.

    Args:
        protection: The design, the network and the rates.
        batches: Samples.
        clean: Scores of the reference on them.
        allowed: The drop that is allowed.
        seed: Of the flips; designs meet the same ones.
        whole: Whether all samples are computed, however clear the drop is before.
        metric: Scores samples from outputs and targets.
    """
    network, found = under_faults(protection, seed), list[np.ndarray]()
    seen = looked = 0
    for batch in batches:
        found.append(scored(network, [batch], metric))
        seen += len(found[-1])
        if not whole and seen >= looked + LOOK_AFTER:
            looked = seen
            if _clear(fall_of(np.concatenate(found), clean[:seen], allowed), allowed):
                break
    return fall_of(np.concatenate(found), clean[:seen], allowed)


def fall_of(scores: np.ndarray, clean: np.ndarray, allowed: float) -> Fall:
    """Sum up scores of samples.

    Args:
        scores: Under faults.
        clean: Of the reference on the same samples.
        allowed: The drop that is allowed.
    """
    lost = clean - scores
    return Fall(
        drop=float(lost.mean()),
        error=_error(lost),
        p_value=Drop(allowed).p_value(scores, clean),
        samples=len(lost),
        right=float(scores.mean()),
    )


def scored(
    network: IntegerNetwork, batches: list[Batch], metric: Metric = accuracy
) -> Float64[np.ndarray, " samples"]:
    """Scores of a network, sample by sample."""
    with torch.inference_mode():
        found = [
            checked_scores(metric(network(inputs), targets), len(targets))
            for inputs, targets in batches
        ]
    return torch.cat(found).cpu().numpy()


def under_faults(protection: Protection, seed: int) -> IntegerNetwork:
    """The network on the array with upsets, as protected."""
    sound = protection.subject.network
    held = {**sound.held, **{name: codes.weight() for name, codes in sound.codes.items()}}
    on = UpsetArray(
        protection.design.on(protection.subject.array),
        upsets(protection.errors, protection.design),
        seed=seed,
        guards=protection.guards(),
    )
    return IntegerNetwork(sound.lowering, held, sound.codes, on)


def _clear(found: Fall, allowed: float) -> bool:
    error = max(found.error, 1 / found.samples)  # few samples that lose alike say little
    return found.p_value < DOUBT or found.drop > allowed + FAR * error


def _error(lost: np.ndarray) -> float:
    return float(lost.std() / np.sqrt(len(lost)))
