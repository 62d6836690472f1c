"""Traits: what can be told of how faults lie on a chip, whatever the network.

Lots whose chips have the same traits may be taken to come from the same defects: their rates, and
how much more they gather in rows, columns and beside each other than faults that are independent.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from chipmend.faults.maps import FaultMap
from chipmend.faults.stuck import StuckBits

LINE = 16
"""Words side by side that are taken for a word line: how stuck bits gather shows at any width."""


def traits(faults: FaultMap) -> dict[str, float]:
    """What can be told of how faults lie on a chip.

    Args:
        faults: Its map.

    Returns:
        By name; of gathering, 1 is what independent faults come to on average, and more is more.

    Example:
        >>> column = np.zeros((4, 4), bool)
        >>> column[:, 2] = True
        >>> found = traits(FaultMap.of_pes(column))
        >>> found["fault rate"], found["gathering in columns"], found["gathering in rows"]
        (0.25, 4.0, 0.0)
    """
    unusable = faults.unusable
    return {
        "fault rate": faults.rate,
        "gathering in rows": _gathering(unusable.sum(1), unusable.shape[1]),
        "gathering in columns": _gathering(unusable.sum(0), unusable.shape[0]),
        "gathering side by side": _side_by_side(unusable),
        "stuck bits of datapaths": float(len(faults.live or ())),
        **_of_memory(faults.stuck),
    }


def _gathering(counts: Int64[np.ndarray, " lines"], of: int) -> float:
    """Variance of the counts of lines of ``of`` places, over that of independent faults."""
    rate = float(counts.mean()) / of
    if rate in (0.0, 1.0) or len(counts) < 2:
        return 1.0
    # counts add up to what they add up to, which the sample variance allows for
    return float(counts.var(ddof=1) / (of * rate * (1 - rate))) * (1 - 1 / len(counts))


def _side_by_side(faulty: Bool[np.ndarray, "rows cols"]) -> float:
    """Pairs of neighbours that are both faulty, over what independent faults come to."""
    count, size = int(faulty.sum()), faulty.size
    pairs = [faulty[1:] & faulty[:-1], faulty[:, 1:] & faulty[:, :-1]]
    expected = sum(pair.size for pair in pairs) * count * (count - 1) / (size * max(1, size - 1))
    return sum(int(pair.sum()) for pair in pairs) / expected if expected else 1.0


def _of_memory(stuck: StuckBits | None) -> dict[str, float]:
    names = "stuck bits", "stuck at 1", "gathering on word lines", "gathering on bit lines"
    if stuck is None:
        return dict(zip(names, (0.0, 0.5, 1.0, 1.0), strict=True))
    word, bit, _ = np.array(stuck.listed(), dtype=np.int64).T
    lines = np.bincount(word // LINE, minlength=-(-stuck.words // LINE))
    places = np.bincount(word % LINE * stuck.bits + bit, minlength=LINE * stuck.bits)
    found: list[float] = [stuck.rate, stuck.share_at_1]
    found += [_gathering(lines, LINE * stuck.bits), _gathering(places, len(lines))]
    return dict(zip(names, found, strict=True))


def traits_of(maps: list[FaultMap]) -> dict[str, Float64[np.ndarray, " chips"]]:
    """The traits of several chips, by name.

    Args:
        maps: Their fault maps, at least one.
    """
    found = [traits(faults) for faults in maps]
    return {name: np.array([each[name] for each in found]) for name in found[0]}
