"""An array whose bits flip now and then: transient upsets at a rate, to the last bit.

Every bit that a PE's adder hands on flips with the same probability in every cycle, whatever else
flips: in each pass, a sum goes down all rows of its column, idle ones too. Or the bits that
multipliers hand on do; the one is told from the other, since circuits that protect them differ in
cost by far. Bits in the buffers may flip besides.

What is drawn hangs on the seed, the layer and how often it was computed, and not on protection: two
designs meet the same flips, of which the one or the other lets through more.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from chipmend.errors import ArrayError
from chipmend.hardware.array import Array
from chipmend.hardware.placement import WeightShape
from chipmend.network.integer.layers import Layer, Pair, PairProduct, Product, soundly
from chipmend.seeds import chip_seed
from chipmend.simulate.flips import BitErrors, Guard, drawn, with_flips
from chipmend.simulate.operands import FlippedWeights, OfLayer, OfPair, zero_of
from chipmend.simulate.passes import Passes
from chipmend.simulate.reach import (
    bounds,
    check_holds_activations,
    check_wide_enough,
    check_wide_enough_for,
)
from chipmend.simulate.upset_sums import UpsetSums


class UpsetArray:
    """What multiplies on an array with transient upsets: give it to an ``IntegerNetwork``.

    Args:
        array: The array as designed.
        errors: How often bits flip.
        seed: Chooses which.
        guards: What protection lets through, by layer; elsewhere all flips get through.

    Raises:
        ArrayError: Signs are to be extended, and sums re-enter: bounds are those of single passes.
    """

    def __init__(
        self,
        array: Array,
        errors: BitErrors,
        *,
        seed: int,
        guards: Mapping[str, Guard] | None = None,
    ) -> None:
        self.array, self.errors, self.seed, self.guards = array, errors, seed, guards or {}
        extended = any(guard.widths is not None for guard in self.guards.values())
        if extended and array.accumulators.tiles == "reentry":
            raise ArrayError(
                "signs are to be extended at the ends of columns, and sums re-enter the array",
                hint="set array.accumulators.tiles to 'outside', or leave widths out of the guards",
            )

    def __call__(self, layer: Layer) -> Product:
        """A layer's product.

        Raises:
            ArrayError: The accumulators are too narrow for the layer.
        """
        return _Layer(layer, self)

    def pair(self, pair: Pair) -> PairProduct:
        """A product of two activations.

        Raises:
            ArrayError: Its weight registers do not hold activations; once operands are there, the
                accumulators are too narrow for them.
        """
        check_holds_activations(pair, self.array)
        return _Pair(pair, self)


class _Chance:
    """Sources of chance for every time that a layer is computed: each kind of flips has its own."""

    def __init__(self, seed: int, layer: str) -> None:
        self._seed, self._layer, self._times = seed, layer, 0

    def begin(self) -> None:
        """The layer is computed once more."""
        self._times += 1

    def of(self, kind: str) -> np.random.Generator:
        """What flips of a kind are drawn from."""
        seed = chip_seed(self._seed, self._layer, f"upsets {self._times} of {kind}")
        return np.random.Generator(np.random.PCG64(seed))


class _Layer:
    """One layer on an array with upsets."""

    def __init__(self, layer: Layer, on: UpsetArray) -> None:
        self._layer, self._on, self._sound = layer, on, soundly(layer)
        self._passes = Passes(layer.shape, on.array)
        weights = self._passes.weights(layer.dense())
        check_wide_enough(layer.name, bounds(weights, layer.grid, self._passes.slices), on.array)
        self._weights = weights.to(torch.int8)
        self._chance, self._guard = _Chance(on.seed, layer.name), on.guards.get(layer.name)

    def __call__(self, inputs: Tensor) -> Int32[Tensor, "outputs m"]:
        """Accumulators of what comes in."""
        chance, errors = self._chance, self._on.errors
        chance.begin()
        inputs = with_flips(inputs, errors.activations, chance.of("activations"))
        found = self._sound(inputs)
        if not (errors.accumulator or errors.product or errors.weights):
            return found
        flipped = self._flipped(errors.weights, len(inputs), found.shape[1])
        operands = OfLayer(
            self._weights,
            self._passes.columns(self._layer.columns(inputs)),
            zero_of(self._layer),
            self._passes,
            flipped,
        )
        places = found.shape[1] // len(inputs)

        def neurons(outputs: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            last = self._samples_last
            return outputs, columns // len(inputs) if last else columns % places

        on = self._on
        sums = UpsetSums(found, operands, on.array, on.errors, self._guard, neurons)
        sums.upset_(chance.of("sums"), flipped)
        return found

    @property
    def _samples_last(self) -> bool:
        return self._layer.window is not None

    def _flipped(self, rate: float, samples: int, columns: int) -> FlippedWeights | None:
        """Weights that flip as they are read, for each sample anew."""
        if not rate:
            return None
        memory, numbers = self._on.array.memory, self._layer.numbers
        bits = memory.bits
        at = drawn(self._chance.of("weights"), range(numbers.numel() * samples * bits), rate)
        if not len(at):
            return None
        words, rank = np.unique(at // bits, return_inverse=True)
        masks = np.zeros(len(words), dtype=np.uint8)
        np.bitwise_or.at(masks, rank, (1 << at % bits).astype(np.uint8))
        word = torch.from_numpy(words)
        before = numbers.flatten().cpu()[word // samples].numpy().astype(np.int64)
        off = memory.values[memory.codes(before) ^ masks] - before
        outputs, rows = self._places_of_weights()
        device = numbers.device
        return FlippedWeights(
            outputs[word // samples].to(device),
            rows[word // samples].to(device),
            (word % samples).to(device),
            torch.from_numpy(off).to(device),
            columns // samples,
            self._samples_last,
            (self._weights.shape[1], samples),
        )

    def _places_of_weights(self) -> tuple[Int64[Tensor, " weights"], Int64[Tensor, " weights"]]:
        """The output of each weight, and its row of the arranged operand."""
        numbers = self._layer.numbers
        counted = torch.arange(1, numbers.numel() + 1, dtype=torch.float64).view(numbers.shape)
        arranged = self._passes.weights(replace(self._layer, numbers=counted).dense()).long()
        outputs, rows = arranged.nonzero(as_tuple=True)
        order = arranged[outputs, rows].argsort()
        return outputs[order], rows[order]


class _Pair:
    """A product of two activations, for as many samples and heads as there are."""

    def __init__(self, pair: Pair, on: UpsetArray) -> None:
        self._pair, self._on, self._sound = pair, on, soundly.pair(pair)
        self._chance, self._guard = _Chance(on.seed, pair.place), on.guards.get(pair.place)

    def __call__(self, left: Tensor, right: Tensor) -> Int32[Tensor, "... m n"]:
        """Accumulators of what comes in."""
        chance, on, errors = self._chance, self._on, self._on.errors
        chance.begin()
        passes = Passes(WeightShape(right.shape[-1], right.shape[-2]), on.array)
        check_wide_enough_for(self._pair, right.shape[-2], passes.slices, on.array)
        left = with_flips(left, errors.activations, chance.of("left"))
        right = with_flips(right, errors.activations, chance.of("right"))
        found = self._sound(left, right)
        if not (errors.accumulator or errors.product):
            return found
        *before, m, n = found.shape
        k = right.shape[-2]
        operands = OfPair(
            left.expand(*before, m, k).reshape(-1, m, k),
            right.expand(*before, k, n).reshape(-1, k, n),
            passes,
        )
        flat = found.mT.reshape(-1, m)
        outputs = len(flat) // (before[0] if before else 1)

        def neurons(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return rows % outputs, columns

        sums = UpsetSums(flat, operands, on.array, on.errors, self._guard, neurons)
        sums.upset_(chance.of("sums"))
        return flat.view(*before, n, m).mT
