"""Accuracy of a network while bits flip, against the same network without: paired, until sure."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from chipmend.confidence.constraint import Drop
from chipmend.network.integer.network import IntegerNetwork
from chipmend.protect.design.parameters import Design
from chipmend.protect.design.protection import Protection, upsets
from chipmend.protect.vulnerability.slopes import Batch
from chipmend.seeds import chip_seed
from chipmend.simulate.upsets import UpsetArray

logger = logging.getLogger(__name__)

LOOK_AFTER = 1024
"""Samples between two looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How sure accuracy under faults is to be.

    Args:
        error: Standard error of the drop that is enough, as a fraction of all samples.
        far: So many standard errors from the bound is enough, too.
        rounds: How often every sample is computed at most, each time with other flips.
    """

    error: float = 0.0015
    far: float = 4.0
    rounds: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """How much accuracy falls.

    Args:
        drop: By how much the share of right answers is lower than without flips.
        error: Its standard error.
        p_value: Probability of such a drop or a smaller one, if it were just more than allowed.
        samples: How many samples were computed, each of a round by itself.
        right: Share of right answers under faults.
    """

    drop: float
    error: float
    p_value: float
    samples: int
    right: float


def fall(
    protection: Protection,
    batches: list[Batch],
    right: Bool[np.ndarray, " samples"],
    allowed: float,
    *,
    seed: int,
    precision: Precision = Precision(),
) -> Fall:
    """Measure by how much accuracy falls while bits flip.

    Args:
        protection: The design, the network and the rates.
        batches: Samples.
        right: Which of them the reference gets right.
        allowed: The drop that is allowed.
        seed: Of the flips; designs meet the same ones.
        precision: How sure it is to be.
    """
    hits = list[Tensor]()
    clean = list[np.ndarray]()
    seen = 0
    for found, reference in _answers(protection, batches, right, seed, precision.rounds):
        hits.append(found)
        clean.append(reference)
        seen += len(found)
        if seen >= LOOK_AFTER and _enough(hits, clean, allowed, precision):
            break
    scores = torch.cat(hits).numpy().astype(float)
    return fall_of(scores, np.concatenate(clean).astype(float), allowed)


def fall_of(scores: np.ndarray, clean: np.ndarray, allowed: float) -> Fall:
    """Sum up right answers, 1 or 0 each.

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


def answers(network: IntegerNetwork, batches: list[Batch]) -> Bool[np.ndarray, " samples"]:
    """Which samples a network gets right."""
    with torch.inference_mode():
        found = [network(inputs).argmax(1) == targets for inputs, targets in batches]
    return torch.cat(found).numpy()


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


def _answers(
    protection: Protection,
    batches: list[Batch],
    right: Bool[np.ndarray, " samples"],
    seed: int,
    rounds: int,
) -> Iterator[tuple[Tensor, np.ndarray]]:
    for number in range(rounds):
        network = under_faults(protection, chip_seed(seed, "upsets", f"round {number}"))
        first = 0
        for inputs, targets in batches:
            with torch.inference_mode():
                found = network(inputs).argmax(1) == targets
            yield found, right[first : first + len(found)]
            first += len(found)


def _enough(
    hits: list[Tensor], clean: list[np.ndarray], allowed: float, precision: Precision
) -> bool:
    lost = np.concatenate(clean).astype(float) - torch.cat(hits).numpy()
    if len(lost) % LOOK_AFTER:
        return False
    error = max(_error(lost), 1 / len(lost))  # none lost among few says little
    return error <= precision.error or abs(lost.mean() - allowed) > precision.far * error


def _error(lost: np.ndarray) -> float:
    return float(lost.std() / np.sqrt(len(lost)))


def described(design: Design) -> str:
    """A design in a few words."""
    words = [f"{design.ordinary_bits} bits"]
    if design.sign_extension:
        words.append("signs extended")
    if design.lanes:
        words.append(f"{100 * design.important:g} % again on {design.lanes} lanes")
    if design.shifts:
        words.append(f"{design.shifts} shifts")
    if design.buffers != "bare":
        words.append(design.buffers)
    return ", ".join(words)
