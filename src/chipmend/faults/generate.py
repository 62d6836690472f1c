"""Random fault maps: uniform, clustered, and whole lines; with stuck bits of the memory, if wanted.

The rate of a map is always the expected share of unusable PEs. Uniform faults are independent of
each other [Zhang2018, Hanif2023]; clustered ones come from defects whose density differs from die
to die (gamma-Poisson, which gives the negative-binomial yield of [Stapper1983]).

References:
    [Zhang2018] Zhang, Gu, Basu, Garg, "Analyzing and mitigating the impact of permanent faults on
        a systolic array based neural network accelerator", VTS 2018.
    [Hanif2023] Hanif, Shafique, "Reduce: a framework for reducing the overheads of fault-aware
        retraining", 2023.
    [Stapper1983] Stapper, Armstrong, Saji, "Integrated circuit yield statistics", Proc. IEEE
        71(4), 1983.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool

from chipmend.errors import LotError
from chipmend.faults.defects import defects_on
from chipmend.faults.lots import Lot
from chipmend.faults.macs_at import MacsAt, stuck_macs
from chipmend.faults.maps import Chip, FaultMap, Provenance
from chipmend.faults.stuck_at import StuckAt, stuck_bits
from chipmend.hardware.array import Array, check_is_array
from chipmend.seeds import chip_seed

SMALLEST_ALPHA = 0.1
"""Below it almost every die is either perfect or lost, and the sums overflow."""

MOST_CHIPS = 10**6
"""More than any lot has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Every PE is faulty with the same probability, independent of the others."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["uniform"] = "uniform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustered:
    """Defects of several PEs, more on some dies than on others.

    Args:
        alpha: Shape of the density of defects over the dies; small is uneven (0.3 to 2 is usual),
            infinite is the same on every die.

    Raises:
        LotError: Alpha is below 0.1.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["clustered"] = "clustered"
    alpha: float = 2.0

    def __post_init__(self) -> None:
        if not self.alpha >= SMALLEST_ALPHA:
            raise LotError(
                f"clustered faults with alpha = {self.alpha}",
                hint=f"give {SMALLEST_ALPHA} or more; 0.3 to 2 is usual",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Whole rows and whole columns are dead, and nothing else."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["lines"] = "lines"


Spatial = Uniform | Clustered | Lines
Spread = Literal["drawn", "even"]
UNIFORM = Uniform()


def fault_map(
    array: Array,
    rate: float,
    spatial: Spatial,
    *,
    seed: int,
    chip: str,
    nested: bool = False,
    stuck: StuckAt | None = None,
    macs: MacsAt | None = None,
) -> FaultMap:
    """Draw the fault map of one chip.

    Args:
        array: The array.
        rate: Expected share of unusable PEs (base: per PE).
        spatial: How the faults lie on the die.
        seed: The seed of the run.
        chip: Identity of the chip.
        nested: Draw such that, with the same seed and chip, the map at a lower rate is a subset
            of the map at a higher rate; otherwise maps at different rates are independent.
        stuck: How stuck bits of the weight memory are drawn, at the upper end of their rates; none
            by default. The array's memory has to state its words then.
        macs: How stuck bits of datapaths are drawn, which nothing bypasses; none by default.

    Returns:
        The map; the same for the same arguments, whatever was drawn before.

    Raises:
        LotError: The rate is not within 0 and 1, or the memory does not state its words.

    Example:
        >>> array = Array(rows=4, cols=4)
        >>> low, high = (fault_map(array, r, Uniform(), seed=0, chip="a", nested=True).unusable
        ...              for r in (0.2, 0.6))
        >>> bool((low <= high).all())
        True
    """
    _check_rates(rate, rate)
    purpose = f"faults {spatial.kind}" + ("" if nested else f" {float(rate)!r}")
    rng = np.random.Generator(np.random.PCG64(chip_seed(seed, chip, purpose)))
    faulty, dead_rows, dead_cols = _faults_of_pes((array.rows, array.cols), rate, spatial, rng)
    drawn = f"{spatial.kind}, rate {float(rate)!r} per PE"
    bits = None
    if stuck is not None:
        bits = stuck_bits(array.memory, stuck, seed=seed, chip=chip, nested=nested)
        drawn += f", {stuck.cells.kind}, rate {stuck.ends[1]!r} per bit"
    datapaths = None
    if macs is not None:
        datapaths = stuck_macs(array, macs, seed=seed, chip=chip, nested=nested)
        amount = f"{macs.count}" if macs.rate is None else f"rate {macs.rate!r} per PE"
        drawn += f", stuck MACs, {amount}"
    return FaultMap(
        rows=array.rows,
        cols=array.cols,
        faulty_pes=faulty,
        dead_rows=dead_rows,
        dead_cols=dead_cols,
        stuck=bits,
        macs=datapaths,
        provenance=Provenance(f"generated: {drawn}, seed {seed}"),
    )


def make_chips(
    array: Array,
    *,
    rate: float | tuple[float, float],
    count: int,
    spatial: Spatial = UNIFORM,
    seed: int = 0,
    nested: bool = False,
    spread: Spread = "drawn",
    lot: str = "",
    stuck: StuckAt | None = None,
    macs: MacsAt | None = None,
) -> Lot:
    """Make a lot of random chips, named ``chip-0001`` and so on.

    Args:
        array: Their array.
        rate: Expected share of unusable PEs (base: per PE), or its lowest and highest value.
        count: How many chips.
        spatial: How the faults lie on a die.
        seed: The seed of the run.
        nested: See ``fault_map``.
        spread: Every chip draws its rate between the two, or they rise evenly over the chips.
        lot: Name of the production lot.
        stuck: How stuck bits of the weight memory are drawn, whose rates are spread as those of PEs
            are; none by default. The array's memory has to state its words then.
        macs: How stuck bits of datapaths are drawn, which nothing bypasses; none by default.

    Returns:
        The chips; making more of them does not change the first ones, unless the rates are even.

    Raises:
        LotError: Rates that are none, an unknown spread, no chip, or a memory of unstated size.

    Example:
        >>> make_chips(Array(rows=8, cols=8), rate=(0.1, 0.5), count=3)
        Lot(3 chips of 8 x 8 PEs)
    """
    check_is_array(array)
    if spread not in get_args(Spread):
        raise LotError(
            f"there is no spread {spread!r}", hint=f"give {' or '.join(get_args(Spread))}"
        )
    ends, drawn_by = check_lot_of(rate, count), None if spread == "even" else seed
    ids = [f"chip-{number + 1:04d}" for number in range(count)]
    of_pes = rates_of(ids, ends, drawn_by, "fault rate")
    of_bits = rates_of(ids, stuck.ends if stuck else (0, 0), drawn_by, "rate of stuck bits")
    kinds = [stuck and replace(stuck, rate=own) for own in of_bits]
    return Lot.of(
        Chip(
            id_,
            fault_map(
                array, own, spatial, seed=seed, chip=id_, nested=nested, stuck=kind, macs=macs
            ),
            lot,
        )
        for id_, own, kind in zip(ids, of_pes, kinds, strict=True)
    )


def check_lot_of(rate: float | tuple[float, float], count: int) -> tuple[float, float]:
    """Give the lowest and the highest fault rate of a lot, or say why there can be none.

    Raises:
        LotError: Rates that are none, or no chip.
    """
    ends = rate if isinstance(rate, tuple) else (rate, rate)
    if len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
        raise LotError(
            f"a fault rate of {rate!r}", hint="give a fraction, or the two ends of a range"
        )
    _check_rates(*ends)
    if count < 1:
        raise LotError(f"{count} chips asked for: zero chips make no lot", hint="ask for 1 or more")
    if count > MOST_CHIPS:
        raise LotError(f"{count} chips asked for", hint=f"ask for {MOST_CHIPS:,} at most")
    return ends


def rates_of(
    ids: Sequence[str], ends: tuple[float, float], seed: int | None, purpose: str
) -> list[float]:
    """A rate for each chip: drawn between two ends or, without a seed, rising evenly.

    Args:
        ids: The chips.
        ends: The lowest and the highest rate.
        seed: The seed of the run.
        purpose: What kind of rate it is.
    """
    if seed is None:
        shares = np.arange(len(ids)) / max(len(ids) - 1, 1)
    else:
        drawn = [np.random.PCG64(chip_seed(seed, id_, purpose)).random_raw() for id_ in ids]
        shares = np.array(drawn) / 2**64
    low, high = ends
    return np.minimum(low + (high - low) * shares, high).tolist()


def _check_rates(low: float, high: float) -> None:
    for rate in (low, high):
        if not 0 <= rate <= 1:
            raise LotError(
                f"a fault rate of {rate}", hint="give the share of faulty PEs, from 0 to 1"
            )
    if low > high:
        raise LotError(
            f"the lowest fault rate, {low}, is above the highest, {high}", hint="swap the two"
        )


def _faults_of_pes(
    size: tuple[int, int], rate: float, spatial: Spatial, rng: np.random.Generator
) -> tuple[Bool[np.ndarray, "rows cols"], tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Faulty PEs, dead rows and dead columns."""
    match spatial:
        case Uniform():
            return rng.random(size) < rate, (), ()
        case Clustered():
            return _clustered(size, rate, spatial.alpha, rng), (), ()
        case Lines():
            return np.zeros(size, dtype=bool), *_dead_lines(size, rate, rng)


def _dead_lines(
    size: tuple[int, int], rate: float, rng: np.random.Generator
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    chance = rate / (1 + math.sqrt(1 - rate))  # 1 - sqrt(1 - rate), so that 1 - (1 - q)^2 = rate
    rows, cols = (np.flatnonzero(rng.random(lines) < chance).tolist() for lines in size)
    return tuple((row, 0) for row in rows), tuple(cols)


def _clustered(
    size: tuple[int, int], rate: float, alpha: float, rng: np.random.Generator
) -> Bool[np.ndarray, "rows cols"]:
    if rate == 1:
        return np.ones(size, dtype=bool)
    density = 1.0 if math.isinf(alpha) else float(rng.standard_gamma(alpha)) / alpha
    return defects_on(size, density * mean_coverage(rate, alpha), rng)


def mean_coverage(rate: float, alpha: float) -> float:
    """Defects that cover a PE on average, such that a PE is faulty with probability ``rate``.

    A PE is healthy on a die of density ``g`` with probability ``exp(-g mu)``, and over all dies,
    ``g`` being gamma distributed with mean 1, with ``(1 + mu / alpha)^-alpha``.

    Args:
        rate: Share of faulty PEs, below 1.
        alpha: Shape of the density over the dies, perhaps infinite.

    Returns:
        ``mu``.

    Example:
        >>> mean_coverage(0.5, 1.0)
        1.0
    """
    healthy = -math.log1p(-rate)
    return healthy if math.isinf(alpha) else alpha * math.expm1(healthy / alpha)
