"""What a design lets through: of the flips of each bit of each neuron, which share."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64

from chipmend.hardware.mac import ACTIVATION_BITS
from chipmend.protect.design.parameters import Design
from chipmend.protect.design.subject import Subject, SubjectLayer
from chipmend.simulate.flips import BitErrors, Guard

PARITY_WORD, ECC_WORD = 9, 72
"""Bits that are read together, with those of the code."""


def outvoted(rate: float) -> float:
    """Of the flips of a bit with three copies, the share that is not outvoted.

    Example:
        >>> outvoted(0.5), f"{outvoted(1e-6):.3g}"
        (1.0, '3e-06')
    """
    return 3 * rate - 2 * rate**2


def upsets(errors: BitErrors, design: Design) -> BitErrors:
    """The rates that are left of those at which bits flip, behind protection of the buffers.

    A flip gets through if another one is in the same word: parity then sees nothing wrong, and the
    code corrects nothing.
    """
    if design.buffers == "bare":
        return errors
    bits = PARITY_WORD if design.buffers == "parity" else ECC_WORD

    def left(rate: float) -> float:
        return rate * (1 - (1 - rate) ** (bits - 1))

    return replace(errors, weights=left(errors.weights), activations=left(errors.activations))


@dataclass(frozen=True, eq=False)
class Protection:
    """A design on a network.

    Args:
        design: The design.
        subject: The network, on an array of the design's size.
        errors: How often bits flip.
    """

    design: Design
    subject: Subject
    errors: BitErrors

    @property
    def last(self) -> int:
        """One above the highest bit that is protected."""
        bits = self.design.accumulator_bits
        if not self.design.sign_extension:
            return bits
        return min(bits, self.subject.widest) - self.design.bare_bits

    @property
    def firsts(self) -> tuple[int, int]:
        """The lowest protected bit of ordinary neurons, and of important ones."""
        ordinary, important = self.design.ordinary_bits, self.design.important_bits
        return max(0, self.last - ordinary), max(0, self.last - important)

    @cached_property
    def through(self) -> Float64[np.ndarray, "2 bits"]:
        """Of the flips of each bit the share that gets through votes, by class of neurons."""
        product, width = bool(self.errors.product), self.design.accumulator_bits
        rate = self.errors.product if product else self.errors.accumulator
        found = np.ones((2, ACTIVATION_BITS + self._weight_bits if product else width))
        for share, first in zip(found, self.firsts, strict=True):
            share[first : None if product else self.last] = outvoted(rate)
        return found

    @property
    def _weight_bits(self) -> int:
        return self.subject.array.memory.bits

    @property
    def important(self) -> dict[str, Bool[np.ndarray, "outputs places"]]:
        """The neurons that are computed again, by layer: those that gain most for the work."""
        return _of_any_lanes(self).chosen

    @cached_property
    def chosen(self) -> dict[str, Bool[np.ndarray, "outputs places"]]:
        """The same, worked out; other numbers of lanes have it in common."""
        layers, design = self.subject.layers, self.design
        if not design.important:
            return {layer.name: np.zeros(layer.change.shape[:2], dtype=bool) for layer in layers}
        gains = {layer.name: self._gain(layer) / layer.passes for layer in layers}
        if design.spread == "layer":
            each = {n: _greatest(g, round(design.important * g.size)) for n, g in gains.items()}
            return {name: gains[name] >= bound for name, bound in each.items()}
        every = np.concatenate([gain.ravel() for gain in gains.values()])
        works = np.concatenate([np.full(gains[la.name].size, la.passes) for la in layers])
        order = np.argsort(-every, kind="stable")
        within = works[order].cumsum() <= design.important * self.subject.work
        bound = every[order][within].min() if within.any() else np.inf
        return {name: gain >= max(bound, np.nextafter(0, 1)) for name, gain in gains.items()}

    def _gain(self, layer: SubjectLayer) -> Float64[np.ndarray, "outputs places"]:
        """By how much less the loss changes if a neuron is important."""
        ordinary, important = self._left(layer)
        return (layer.harm * (ordinary - important)[:, None]).sum(2)

    def _left(self, layer: SubjectLayer) -> Float64[np.ndarray, "2 outputs bits"]:
        """Of the flips of each bit the share that is left at the end of columns, by class."""
        bits = self.design.accumulator_bits
        share = self._of_sums
        kept = layer.kept if self.design.sign_extension else np.ones_like(layer.kept)
        found = np.zeros((2, *kept.shape))
        found[:, :, :bits] = share[:, None, :bits] * kept[:, :bits]
        return found

    @property
    def _voted(self) -> tuple[int, int] | None:
        return self.firsts if self.errors.product else None

    @property
    def _of_sums(self) -> Float64[np.ndarray, "2 bits"]:
        """Shares for bits of sums: what flips at a multiplier's bit is taken for a flip of it."""
        bits = self.design.accumulator_bits
        found = np.zeros((2, bits))
        width = min(bits, self.through.shape[1])
        found[:, :width] = self.through[:, :width]
        return found

    def harm(self) -> float:
        """By how much the loss of a sample is expected to change, to first order."""
        return _of_any_lanes(self).let_through

    @cached_property
    def let_through(self) -> float:
        """The same, worked out; other numbers of lanes have it in common."""
        rate, total = self.errors.accumulator + self.errors.product, 0.0
        for layer in self.subject.layers:
            ordinary, important = self._left(layer)
            chosen = self.chosen[layer.name]
            each = np.where(chosen[..., None], important[:, None], ordinary[:, None])
            total += float((layer.harm * each).sum())
        return rate * total

    def guards(self) -> Mapping[str, Guard]:
        """What protection lets through, by layer, for the simulator."""
        extended = self.design.sign_extension
        pairs = {
            place: Guard(self.through, widths=width if extended else None, voted=self._voted)
            for place, width in self.subject.pairs.items()
        }
        return pairs | {
            layer.name: Guard(
                self.through,
                important=self.important[layer.name],
                widths=layer.widths if extended else None,
                voted=self._voted,
            )
            for layer in self.subject.layers
        }


def _of_any_lanes(protection: Protection) -> Protection:
    """One with the same neurons, of which what was worked out is kept for a while."""
    design = replace(protection.design, lanes=1, buffers="bare")
    return _kept(design, protection.subject, protection.errors)


@functools.lru_cache(maxsize=16)
def _kept(design: Design, subject: Subject, errors: BitErrors) -> Protection:
    return Protection(design, subject, errors)


def _greatest(numbers: Float64[np.ndarray, "..."], count: int) -> float:
    """The least of so many of the greatest numbers, above 0; infinity if there is none."""
    if not count:
        return np.inf
    return max(float(np.partition(numbers.ravel(), -count)[-count]), np.nextafter(0, 1))
