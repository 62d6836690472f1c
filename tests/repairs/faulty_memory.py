"""Chips with stuck bits, and whether their words can read what they should."""

import numpy as np
import torch

from chipmend.faults import Chip, FaultMap, StuckBits
from chipmend.hardware import Array, Filled, WeightMemory, read_back
from chipmend.network import gemms
from chipmend.network.filling import filled
from chipmend.repairs.words import Words, hit_words

ARRAY = Array(rows=6, cols=5)


def weights_of(task):
    return sum(gemm.weight.numel() for gemm in gemms(task.model))


def stuck_bits(words, share, bits=8, seed=0):
    random = np.random.default_rng(seed)
    hit, at_1 = (random.random((words, bits)) < s for s in (share, 0.5))
    ones, zeros = (
        np.packbits(part, axis=1, bitorder="little").ravel() for part in (hit & at_1, hit & ~at_1)
    )
    return StuckBits.of_patterns(ones, zeros, bits)


def chip(task, *, share=0.05, broken=0.2, words=None, bits=8):
    pes = np.random.default_rng(0).random((6, 5)) < broken
    stuck = stuck_bits(words or weights_of(task), share, bits)
    return Chip(id="a", faults=FaultMap(rows=6, cols=5, faulty_pes=pes, stuck=stuck))


def readable_by(one, model, memory, inputs, stuck):
    """Whether every word can read the number that it should, by trying all codes."""
    where = filled(model, inputs, memory)
    ones, zeros = stuck.patterns()
    every = np.arange(2**memory.bits, dtype=np.uint8)
    for name, codes in one.codes.items():
        at = where.addresses(name)
        can = memory.values[read_back(every, ones[at][:, None], zeros[at][:, None])]
        wanted = codes.numbers.flatten().numpy()[:, None]
        yield name, (can == wanted).any(1) | (wanted == 0).ravel()


def words_of_a_weight(memory, n=6, k=40, share=0.5, seed=0):
    """Words of a weight, and the stuck bits by themselves."""
    random = np.random.default_rng(seed)
    size, top = n * k, 2**memory.bits
    hit = random.random(size) < share
    ones = np.where(hit, random.integers(0, top, size), 0).astype(np.uint8)
    zeros = np.where(hit, random.integers(0, top, size), 0).astype(np.uint8) & ~ones
    stuck = StuckBits.of_patterns(ones, zeros, memory.bits)
    filled = Filled.of({"w": size}, WeightMemory(bits=memory.bits, words=size))
    lost = torch.from_numpy(random.random((n, k)) < 0.1)
    return Words(memory, hit_words(filled, stuck)["w"], lost), ones, zeros
