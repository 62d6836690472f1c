"""The array PE by PE: a slow twin of the simulator, from the definition alone."""

import itertools

import numpy as np


def signed(pattern, bits):
    """The number that a pattern of bits stands for in two's complement."""
    pattern = pattern % 2**bits
    return np.where(pattern < 2 ** (bits - 1), pattern, pattern - 2**bits)


def stuck(numbers, bits, listed):
    """Numbers after some of their bits are stuck: ``(bit, value)`` each."""
    pattern = np.asarray(numbers) % 2**bits
    for bit, value in listed:
        pattern = pattern | 2**bit if value else pattern & ~(2**bit)
    return signed(pattern, bits)


def summed(total, bits, overflow):
    """A sum as an accumulator of so many bits keeps it."""
    if overflow == "saturate":
        return np.clip(total, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return signed(total, bits)


def product(inputs, weights, array, faults):
    """``Y[m, n] = X[m, k] W[k, n]`` as the chip computes it.

    Args:
        inputs: ``m x channels x taps``, whole.
        weights: ``n x channels x taps``, as the array is asked to hold them.
        array: The array.
        faults: What is broken.
    """
    at = {}
    for row, col, site, bit, value in faults.macs.listed() if faults.macs else []:
        at.setdefault((row, col, site), []).append((bit, value))
    unusable, sums = faults.unusable, array.accumulators
    n, channels, taps = weights.shape
    if array.placement == "im2col" or taps == 1:
        places = [[(k // taps, k % taps)] for k in range(channels * taps)]
    else:
        places = [[(channel, tap) for tap in range(taps)] for channel in range(channels)]
    found = np.zeros((len(inputs), n), dtype=np.int64)
    for output in range(n):
        col, outside, carried = output % array.cols, 0, 0
        for first in range(0, len(places), array.rows):
            tile = places[first : first + array.rows]
            for turn in range(len(places[0])):
                total = carried if sums.tiles == "reentry" else np.zeros(len(inputs), np.int64)
                for row in range(array.rows):
                    if unusable[row, col]:
                        continue
                    x, w = np.zeros(len(inputs), np.int64), 0
                    if row < len(tile):
                        channel, tap = tile[row][turn]
                        x, w = inputs[:, channel, tap], int(weights[output, channel, tap])
                    held = stuck(w, array.memory.bits, at.get((row, col, "weight"), []))
                    times = stuck(
                        held * x, array.memory.bits + 8, at.get((row, col, "product"), [])
                    )
                    total = summed(total + times, sums.bits, sums.overflow)
                    total = stuck(total, sums.bits, at.get((row, col, "accumulator"), []))
                if sums.tiles == "reentry":
                    carried = total
                else:
                    outside = summed(outside + total, sums.outside_bits, sums.overflow)
        found[:, output] = carried if sums.tiles == "reentry" else outside
    return found


def patches(inputs, kernel, stride, padding, dilation):
    """Inputs of each dot product of a convolution, place by place and sample by sample.

    Args:
        inputs: ``samples x channels x height x width``.
    """
    samples, _, *sizes = inputs.shape
    padded = np.pad(inputs, [(0, 0), (0, 0), *((p, p) for p in padding)])
    places = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, d, k, s in zip(sizes, padding, dilation, kernel, stride, strict=True)
    ]
    rows = []
    for place in itertools.product(*map(range, places)):
        for sample in range(samples):
            taps = [
                padded[
                    sample,
                    :,
                    *(
                        a * s + t * d
                        for a, s, t, d in zip(place, stride, tap, dilation, strict=True)
                    ),
                ]
                for tap in itertools.product(*map(range, kernel))
            ]
            rows.append(np.stack(taps, 1))
    return np.stack(rows)


def upset_product(inputs, weights, array, flips, site, *, widths=None, voted=None):
    """``Y[m, n] = X[m, k] W[k, n]`` of which bits flip on the way.

    Args:
        inputs: ``m x channels x taps``, whole.
        weights: ``n x channels x taps`` for each of the ``m``.
        array: The array.
        flips: Bits by output, row of the operand, pass and row of PEs.
        site: Whether products or accumulators flip.
        widths: By output and pass, from how many bits signs are extended.
        voted: By output, from which bit on copies of the multiplier vote.
    """
    sums, width = array.accumulators, array.bits_at(site)
    m, channels, taps = inputs.shape
    n = len(weights[0])
    if array.placement == "im2col" or taps == 1:
        places = [[(k // taps, k % taps)] for k in range(channels * taps)]
    else:
        places = [[(channel, tap) for tap in range(taps)] for channel in range(channels)]
    tiles = [places[first : first + array.rows] for first in range(0, len(places), array.rows)]
    passes = [[place[turn] for place in tile] for tile in tiles for turn in range(len(places[0]))]

    def flipped(number, *where):
        pattern = int(number) % 2**width
        for bit in flips.get(where, []):
            pattern ^= 2**bit
        return int(signed(pattern, width))

    found = np.zeros((m, n), dtype=np.int64)
    for at, output in itertools.product(range(m), range(n)):
        outside = carried = 0
        for number, held in enumerate(passes):
            total = carried if sums.tiles == "reentry" else 0
            for row in range(array.rows):
                before, times = total, 0
                if row < len(held):
                    times = int(inputs[at, *held[row]]) * int(weights[at][output, *held[row]])
                where = output, at, number, row
                sound = int(summed(before + times, sums.bits, sums.overflow))
                if site == "product":
                    times = flipped(times, *where)
                total = int(summed(before + times, sums.bits, sums.overflow))
                if voted is not None:
                    low = 2 ** voted[output]
                    pattern = sound % 2**sums.bits // low * low + total % low
                    total = int(signed(pattern, sums.bits))
                if site == "accumulator":
                    total = flipped(total, *where)
            if widths is not None:
                kept = int(widths[output][number])
                total = int(signed(total % 2**kept, kept))
            carried = total
            outside = int(summed(outside + total, sums.outside_bits, sums.overflow))
        found[at, output] = carried if sums.tiles == "reentry" else outside
    return found
