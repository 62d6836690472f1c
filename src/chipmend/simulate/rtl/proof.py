"""Random matrix products, by the simulator and by the array's Verilog: they agree on every bit."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from chipmend.errors import ArrayError
from chipmend.faults.macs import StuckMacs
from chipmend.faults.maps import FaultMap
from chipmend.hardware.array import Array
from chipmend.hardware.mac import SITES, Accumulators, Site
from chipmend.hardware.memory import WeightMemory
from chipmend.network.integer.graph import Held, Operation, Value
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.layers import Layer, Pair, Product
from chipmend.simulate.faulty_array import FaultyArray
from chipmend.simulate.rtl.icarus import Gemm, Icarus

MOST_SAMPLES, MOST_TILES, MOST_TAPS = 5, 3, 3
LEAST_SUM_BITS = 21
"""Enough for the sums of a few rows of PEs, so that few random products are refused."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of some random cases.

    Args:
        cases: How many there were.
        sums: Numbers that were compared.
        moved: Cases whose faults changed some number.
        pairs: Cases that were taken as a product of two activations as well.
        mismatches: Cases in which the two do not agree.
    """

    cases: int
    sums: int
    moved: int
    pairs: int
    mismatches: tuple[Gemm, ...]

    def __add__(self, other: "Proof") -> "Proof":
        return Proof(
            self.cases + other.cases,
            self.sums + other.sums,
            self.moved + other.moved,
            self.pairs + other.pairs,
            self.mismatches + other.mismatches,
        )


def prove(array: Array, *, cases: int, seed: int) -> Proof:
    """Compare the simulator with the Verilog of an array.

    Args:
        array: The array.
        cases: How many random matrix products.
        seed: The seed of everything random.

    Raises:
        RtlError: Icarus Verilog is not installed.
    """
    rng = np.random.default_rng(seed)
    gemms = [random_gemm(array, rng) for _ in range(cases)]
    sound = _sound(array)
    with Icarus(array) as rtl:
        found = rtl.products(gemms)
    wrong, sums, moved, pairs = [], 0, 0, 0
    for gemm, expected in zip(gemms, found, strict=True):
        sums += expected.size
        moved += not np.array_equal(expected, simulated(gemm, array, sound))
        ways = [simulated(gemm, array, gemm.faults), *_of_activations(gemm, array)]
        pairs += len(ways) - 1
        if not all(np.array_equal(way, expected) for way in ways):
            wrong.append(gemm)
    return Proof(cases, sums, moved, pairs, tuple(wrong))


def simulated(gemm: Gemm, array: Array, faults: FaultMap) -> Int64[np.ndarray, "m n"]:
    """A matrix product by the simulator."""
    product, inputs = product_of(gemm, array, faults)
    return product(inputs).numpy().T.astype(np.int64)


def _of_activations(gemm: Gemm, array: Array) -> Iterator[Int64[np.ndarray, "m n"]]:
    """A matrix product as one of two activations, if the array takes it as such."""
    if gemm.inputs.shape[-1] > 1:
        return
    pair = Pair("the case", _grid(gemm), Grid(1.0, signed=True))
    left, right = (torch.from_numpy(numbers[..., 0]) for numbers in (gemm.inputs, gemm.weights))
    try:
        product = FaultyArray(array, gemm.faults).pair(pair)
        found = product(left.to(pair.left.dtype)[None], right.T.to(torch.int8)[None])
    except ArrayError:  # such operands have to fit whatever they are
        return
    yield found[0].numpy().astype(np.int64)


def _grid(gemm: Gemm) -> Grid:
    return Grid(1.0, signed=bool(gemm.inputs.min(initial=0) < 0))


def product_of(gemm: Gemm, array: Array, faults: FaultMap) -> tuple[Product, Tensor]:
    """What the simulator computes a matrix product by, and the inputs that it takes."""
    grid = _grid(gemm)
    weights = torch.from_numpy(gemm.weights).float()
    given = {"input": Value("input"), "weight": Held("weight"), "bias": None}
    given |= {"stride": [1], "padding": [0], "dilation": [1], "groups": 1}
    operation = Operation("conv1d.default", given, "output", (len(weights), 1), "")
    product = FaultyArray(array, faults)(Layer(operation, weights, grid))
    return product, torch.from_numpy(gemm.inputs).to(grid.dtype)


def random_array(rng: np.random.Generator, *, most: int = 16) -> Array:
    """An array from 2 x 2 to ``most x most`` PEs, of any placement and any kind of accumulators."""
    rows, cols = rng.integers(2, most + 1, 2).tolist()
    return Array(
        rows=rows,
        cols=cols,
        placement="im2col" if rng.random() < 0.5 else "channel",
        memory=WeightMemory(bits=8 if rng.random() < 0.75 else int(rng.integers(2, 8))),
        accumulators=Accumulators(
            bits=int(rng.integers(LEAST_SUM_BITS, 33)),
            overflow="wrap" if rng.random() < 0.5 else "saturate",
            tiles="outside" if rng.random() < 0.7 else "reentry",
            outside_bits=int(rng.integers(LEAST_SUM_BITS, 33)),
        ),
    )


def random_gemm(array: Array, rng: np.random.Generator) -> Gemm:
    """A matrix product of a few tiles with random faults, which the array's accumulators hold."""
    while True:
        for gemm in _fewer_and_fewer_inputs(array, rng):
            try:
                simulated(gemm, array, _sound(array))
            except ArrayError:  # the accumulators are too narrow for so many inputs
                continue
            return gemm


def _sound(array: Array) -> FaultMap:
    return FaultMap.of_pes(np.zeros((array.rows, array.cols), dtype=bool))


def _fewer_and_fewer_inputs(array: Array, rng: np.random.Generator) -> Iterator[Gemm]:
    taps = int(rng.integers(1, MOST_TAPS + 1))
    m, n = int(rng.integers(1, MOST_SAMPLES + 1)), int(rng.integers(1, MOST_TILES * array.cols + 1))
    channels = int(rng.integers(1, MOST_TILES * array.rows + 1))
    half = 2 ** (array.memory.bits - 1)
    least, end = (-128, 128) if rng.random() < 0.5 else (0, 256)
    faults = _random_faults(array, rng)
    while channels:
        inputs = rng.integers(least, end, (m, channels, taps))
        yield Gemm(inputs, rng.integers(-half, half, (n, channels, taps)), faults)
        channels //= 2


def _random_faults(array: Array, rng: np.random.Generator) -> FaultMap:
    """Faults of every class; of bits the highest more often than others."""
    size = (array.rows, array.cols)
    count = rng.integers(1, 4) if rng.random() < 0.5 else rng.integers(1, array.rows * array.cols)
    stuck: dict[tuple[int, int, Site, int], int] = {}
    for _ in range(int(count)):
        site = SITES[rng.integers(len(SITES))]
        most = array.bits_at(site)
        bit = rng.integers(most) if rng.random() < 0.6 else most - 1 - rng.integers(4) % most
        stuck[int(rng.integers(size[0])), int(rng.integers(size[1])), site, int(bit)] = int(
            rng.integers(2)
        )
    return FaultMap(
        rows=array.rows,
        cols=array.cols,
        faulty_pes=rng.random(size) < (0.05 if rng.random() < 0.5 else 0),
        dead_cols=(int(rng.integers(size[1])),) if rng.random() < 0.1 else (),
        dead_rows=((int(rng.integers(size[0])), 0),) if rng.random() < 0.1 else (),
        macs=StuckMacs.of((*place, value) for place, value in stuck.items()),
    )
