"""Manufacturing defects with a footprint: points, short segments of a line, and blobs.

Defects fall on the die and on a margin around it like rain (a Poisson process), so that a PE at the
edge is hit as often as any other. The process runs in the order of arrival: fewer defects are
always the first ones of more.

References:
    [Stapper1983] Stapper, Armstrong, Saji, "Integrated circuit yield statistics", Proc. IEEE
        71(4), 1983.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

LENGTHS = range(2, 9)
"""PEs of a segment; all are equally likely."""
RADII = range(1, 4)
"""Radii of a blob in PEs; all are equally likely."""
MARGIN = 4
"""How far a footprint reaches from its centre, at most."""
SATURATED = 64.0
"""Coverage beyond which no PE is left healthy, to the precision of a float: exp(-64) < 2e-28."""
CHUNK = 512


def footprints() -> list[list[tuple[int, int]]]:
    """List the shapes of a defect as offsets from its centre: 1 point, 7 + 7 segments, 3 blobs."""
    segments = [range(-(length // 2), length - length // 2) for length in LENGTHS]
    return [
        [(0, 0)],
        *[[(0, step) for step in segment] for segment in segments],
        *[[(step, 0) for step in segment] for segment in segments],
        *[_disc(radius) for radius in RADII],
    ]


def chances() -> Float64[np.ndarray, "shapes"]:
    """Probability of each footprint: the four kinds are equally likely."""
    counts = np.array([1, len(LENGTHS), len(LENGTHS), len(RADII)])
    return np.repeat(0.25 / counts, counts)


def mean_area() -> float:
    """PEs that a defect covers on average."""
    return float(chances() @ [len(shape) for shape in footprints()])


def defects_on(
    size: tuple[int, int], coverage: float, rng: np.random.Generator
) -> Bool[np.ndarray, "rows cols"]:
    """Let defects fall on a die.

    Args:
        size: ``(rows, cols)`` of the array.
        coverage: How many defects cover a PE on average; each PE is then faulty with probability
            ``1 - exp(-coverage)``.
        rng: Where the draws come from; for equal draws, less coverage gives a subset.

    Returns:
        ``rows x cols``, true where a defect lies.
    """
    rows, cols = size
    places = (rows + 2 * MARGIN) * (cols + 2 * MARGIN)
    expected = min(coverage, SATURATED) * places / mean_area()
    width = cols + 4 * MARGIN
    shapes = _cells(width)
    die = np.zeros((rows + 4 * MARGIN) * width, dtype=bool)
    inner = slice(2 * MARGIN, -2 * MARGIN)
    pes = die.reshape(-1, width)[inner, inner]
    arrived = 0.0
    while arrived < expected and not pes.all():
        times = arrived + np.cumsum(rng.standard_exponential(CHUNK))
        kind = np.searchsorted(np.cumsum(chances())[:-1], rng.random(CHUNK), side="right")
        centre = (MARGIN + rng.integers(rows + 2 * MARGIN, size=CHUNK)) * width
        centre += MARGIN + rng.integers(cols + 2 * MARGIN, size=CHUNK)
        die[(centre[:, None] + shapes[kind])[times <= expected]] = True
        arrived = float(times[-1])
    return pes


def _cells(width: int) -> Int64[np.ndarray, "shapes points"]:
    """Offsets of the footprints on a flat die, short ones filled up with their first PE."""
    flat = [[row * width + col for row, col in shape] for shape in footprints()]
    longest = max(map(len, flat))
    return np.array([shape + shape[:1] * (longest - len(shape)) for shape in flat])


def _disc(radius: int) -> list[tuple[int, int]]:
    span = range(-radius, radius + 1)
    return [(row, col) for row in span for col in span if row * row + col * col <= radius * radius]
