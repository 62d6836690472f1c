"""Areas of all modules, fitted to what synthesis gave: no synthesis tool is needed to look them up.

Areas are counted in transistors. The table that is shipped was made by ``fitted`` from the Verilog
beside it, of which it holds a digest.
"""

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chipmend.protect.circuit.yosys import SOURCES, Synthesized, synthesized

TABLE = Path(__file__).with_name("areas.json")
Parameters = Mapping[str, int]


def _pe(given: Parameters) -> list[float]:
    """What the area of a PE or a lane goes by."""
    weight, bits, first, last = (given[n] for n in ("WEIGHT_BITS", "BITS", "FIRST", "LAST"))
    return [1, weight, weight**2, bits, last - first, float(first < last < bits)]


def _cone(given: Parameters) -> list[float]:
    """The same where whole cones are protected: copies cost more than their bits do."""
    weight, bits, first = (given[n] for n in ("WEIGHT_BITS", "BITS", "FIRST"))
    in_product = max(0, weight + 8 - first)
    copies = [1, weight, weight**2, bits, bits - first, in_product, float(bits - first == 1)]
    return [1, weight, weight**2, bits, *(x * float(first < bits) for x in copies)]


def _end(given: Parameters) -> list[float]:
    return [1, given["BITS"] - given["NARROWEST"]]


def _unit(given: Parameters) -> list[float]:
    return [1, given["BITS"]]


def _same(_: Parameters) -> list[float]:
    return [1]


def _grid(**values: Sequence[int]) -> list[dict[str, int]]:
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


_WIDTHS = (16, 20, 24, 28, 32)
_ADDERS = [
    {"WEIGHT_BITS": weight, "BITS": bits, "FIRST": last - count, "LAST": last, "CONE": 0}
    for weight in (4, 6, 8)
    for bits in _WIDTHS
    for last in (bits, bits - 4)
    for count in (0, 1, 4, 8, last)
]
_CONES = [
    {"WEIGHT_BITS": weight, "BITS": bits, "FIRST": bits - count, "LAST": bits, "CONE": 1}
    for weight in (4, 6, 8)
    for bits in _WIDTHS
    for count in (0, 1, 4, 8, 12, bits)
]


@dataclass(frozen=True, slots=True)
class _Part:
    """A module whose area is fitted.

    Args:
        module: Its name in Verilog.
        grid: The parameters that it is synthesized with.
        goes_by: What its area is a linear function of.
    """

    module: str
    grid: list[dict[str, int]]
    goes_by: Callable[[Parameters], list[float]]


PARTS = {
    "pe": _Part("pe", _ADDERS, _pe),
    "pe_cone": _Part("pe", _CONES, _cone),
    "lane": _Part("lane", _ADDERS, _pe),
    "lane_cone": _Part("lane", _CONES, _cone),
    "column_end": _Part("column_end", _grid(BITS=_WIDTHS, NARROWEST=(8, 12, 15)), _end),
    "dppu_end": _Part("dppu_end", _grid(BITS=_WIDTHS), _unit),
    "parity": _Part("parity", [{}], _same),
    "ecc": _Part("ecc", [{}], _same),
}
"""By name; what is synthesized, and what the area goes by."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted area.

    Args:
        factors: Of what it goes by, in transistors.
        error: The largest error of any point that it was fitted to, as a share of that.
        points: How many points there were.
    """

    factors: tuple[float, ...]
    error: float
    points: int


def fitted(part: str, synthesize: Callable[[str, Parameters], Synthesized] = synthesized) -> Fit:
    """Fit the area of a part to what synthesis gives.

    Args:
        part: Its name.
        synthesize: What synthesizes.
    """
    wanted = PARTS[part]
    features = np.array([wanted.goes_by(given) for given in wanted.grid])
    areas = [float(synthesize(wanted.module, given).transistors) for given in wanted.grid]
    factors = np.linalg.lstsq(features, np.array(areas))[0]
    error = np.abs(features @ factors / areas - 1).max()
    return Fit(tuple(round(float(f), 4) for f in factors), round(float(error), 5), len(areas))


def sources_digest() -> str:
    """Hex digest of the Verilog."""
    return hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()


@functools.cache
def table() -> dict[str, Fit]:
    """The fitted areas that are shipped, by part."""
    parts = json.loads(TABLE.read_bytes())["parts"]
    return {
        name: Fit(tuple(fit["factors"]), fit["error"], fit["points"]) for name, fit in parts.items()
    }


def area(part: str, **parameters: int) -> float:
    """The area of a part, in transistors.

    Args:
        part: Its name.
        parameters: Those of its module.

    Example:
        A bit more of protection on a PE costs two adders, two registers and a voter:

        >>> given = {"WEIGHT_BITS": 8, "BITS": 24, "LAST": 24}
        >>> round(area("pe", FIRST=15, **given) - area("pe", FIRST=16, **given))
        126
    """
    return float(np.dot(PARTS[part].goes_by(parameters), table()[part].factors))
