"""What a design lets through: of the flips of each bit of each neuron, which share."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64

from chipmend.hardware.mac import ACTIVATION_BITS
from chipmend.protect.design.parameters import Design
from chipmend.protect.design.subject import Subject, SubjectLayer
from chipmend.simulate.flips import BitErrors, Guard

_COUNTS = ("ordinary_bits", "important_bits")
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
        design: The design; what of it has no effect is left out.
        subject: The network, on an array of the design's size.
        errors: How often bits flip.
    """

    design: Design
    subject: Subject
    errors: BitErrors

    def __post_init__(self) -> None:
        counts = {n: min(getattr(self.design, n), self._last) for n in _COUNTS}
        object.__setattr__(self, "design", replace(self.design, **counts).plain())

    @property
    def cone(self) -> bool:
        """Whether all is protected that bits hang on, since multipliers flip."""
        return bool(self.errors.product)

    @property
    def ordinary(self) -> range:
        """The bits that are protected in PEs."""
        return self._protected(self.design.ordinary_bits)

    @property
    def important(self) -> range:
        """The bits that are protected in lanes."""
        return self._protected(self.design.important_bits)

    def _protected(self, count: int) -> range:
        """The highest bits that sums need; of whole cones, all from there up."""
        end = self.design.accumulator_bits if self.cone else self._last
        return range(self._last - count, end) if count else range(end, end)

    @property
    def _last(self) -> int:
        """One above the highest bit that sums need, bits that are left bare not counted."""
        bits = self.design.accumulator_bits
        if not self.design.sign_extension:
            return bits
        return max(0, min(bits, self.subject.widest) - self.design.bare_bits)

    @cached_property
    def through(self) -> Float64[np.ndarray, "2 bits"]:
        """Of the flips of each bit the share that gets through votes, by class of neurons.

        Of multipliers whose copies vote, one is taken to be hit in a cycle, and not two.
        """
        bits, left = self.design.accumulator_bits, outvoted(self.errors.accumulator)
        if self.cone:
            bits, left = ACTIVATION_BITS + self.subject.array.memory.bits, 0.0
        found = np.ones((2, bits))
        for share, protected in zip(found, (self.ordinary, self.important), strict=True):
            share[protected.start : protected.stop] = left
        return found

    @property
    def again(self) -> dict[str, Bool[np.ndarray, "outputs places"]]:
        """The neurons that are computed again, by layer: those that gain most for the work."""
        return _of_any_lanes(self).chosen

    @cached_property
    def chosen(self) -> dict[str, Bool[np.ndarray, "outputs places"]]:
        """The same, worked out; other numbers of lanes have it in common."""
        layers, design = self.subject.layers, self.design
        if not design.important:
            return {layer.name: np.zeros(layer.change.shape[:2], dtype=bool) for layer in layers}
        all_alike = _of_any_share(self)
        gains = all_alike.gains
        if design.spread == "layer":
            each = {n: _greatest(g, round(design.important * g.size)) for n, g in gains.items()}
            return {name: gains[name] >= bound for name, bound in each.items()}
        ranked, works = all_alike.ranked
        within = np.searchsorted(works, design.important * self.subject.work, side="right")
        bound = max(ranked[within - 1], np.nextafter(0, 1)) if within else np.inf
        return {layer.name: gains[layer.name] / layer.passes >= bound for layer in layers}

    @cached_property
    def gains(self) -> dict[str, Float64[np.ndarray, "outputs places"]]:
        """By how much less the loss changes if a neuron is important, by layer."""
        ordinary, important = self._of_sums
        return {
            layer.name: self._harm(layer) @ (ordinary - important) for layer in self.subject.layers
        }

    @cached_property
    def ranked(self) -> tuple[Float64[np.ndarray, " neurons"], Int64[np.ndarray, " neurons"]]:
        """What all neurons gain for their work, the most first, and the work up to each."""
        layers = self.subject.layers
        gains = np.concatenate([(self.gains[la.name] / la.passes).ravel() for la in layers])
        works = np.concatenate([np.full(self.gains[la.name].size, la.passes) for la in layers])
        order = np.argsort(-gains, kind="stable")
        return gains[order], works[order].cumsum()

    def _harm(self, layer: SubjectLayer) -> Float64[np.ndarray, "outputs places bits"]:
        """What flips do if nothing but the ends of columns keeps them from it."""
        return layer.harm_of_kept if self.design.sign_extension else layer.harm

    @property
    def _voted(self) -> tuple[int, int] | None:
        return (self.ordinary.start, self.important.start) if self.cone else None

    @property
    def _of_sums(self) -> Float64[np.ndarray, "2 bits"]:
        """Shares for bits of sums: what flips at a multiplier's bit is taken for a flip of it."""
        found = np.zeros((2, self.subject.layers[0].change.shape[2]))
        width = min(self.design.accumulator_bits, self.through.shape[1])
        found[:, :width] = self.through[:, :width]
        return found

    def harm(self) -> float:
        """By how much the loss of a sample is expected to change, to first order."""
        return _of_any_lanes(self).let_through

    @cached_property
    def let_through(self) -> float:
        """The same, worked out; other numbers of lanes have it in common."""
        total = _of_any_share(self).of_ordinary
        if self.design.important:
            gains = _of_any_share(self).gains
            total -= sum(float(gains[name][again].sum()) for name, again in self.chosen.items())
        return (self.errors.accumulator + self.errors.product) * total

    @cached_property
    def of_ordinary(self) -> float:
        """What is let through if no neuron is important, per rate of flips."""
        ordinary, _ = self._of_sums
        return sum(float((self._harm(layer) @ ordinary).sum()) for layer in self.subject.layers)

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
                important=self.again[layer.name],
                widths=layer.widths if extended else None,
                voted=self._voted,
            )
            for layer in self.subject.layers
        }


def _of_any_lanes(protection: Protection) -> Protection:
    """One with the same neurons, of which what was worked out is kept for a while."""
    design = replace(protection.design, lanes=1, buffers="bare")
    return _kept(design, protection.subject, protection.errors)


def _of_any_share(protection: Protection) -> Protection:
    """One that protects alike, however many neurons are important."""
    share = float(protection.design.important > 0)
    design = replace(
        protection.design, important=share, spread="network", lanes=int(share), buffers="bare"
    )
    return _kept(design, protection.subject, protection.errors)


@functools.lru_cache(maxsize=64)
def _kept(design: Design, subject: Subject, errors: BitErrors) -> Protection:
    return Protection(design, subject, errors)


def _greatest(numbers: Float64[np.ndarray, "..."], count: int) -> float:
    """The least of so many of the greatest numbers, above 0; infinity if there is none."""
    if not count:
        return np.inf
    return max(float(np.partition(numbers.ravel(), -count)[-count]), np.nextafter(0, 1))
