"""What makes networks collapse at a fault rate of 0.04, which the paper's abstract leaves open.

    python reproduce/faq/collapse.py

Sweeps whether the rate counts bits or words, whether each output or each tensor has a step, how
numbers are coded, and the share of faulty bits that is stuck at 1. Weights alone are in codes here;
accuracies are of 2,000 validation pictures.
"""

import itertools
import statistics
from typing import Any

import numpy as np
import torch
from lab import NETWORKS, SEED, Lab, measured

import chipmend as cm
from chipmend.faults import StuckBits
from chipmend.faults.stuck_at import stuck_bits
from chipmend.network import gemms, scores
from chipmend.network.integer.codes import plain_steps
from chipmend.network.samples import ChosenSamples
from chipmend.repairs.words import Words, hit_words
from chipmend.seeds import chip_seed

RATE, CHIPS, PICTURES = 0.04, 3, 2000
CODINGS = ("twos_complement", "offset_binary", "sign_magnitude")


def faults(lab: Lab, job: dict[str, Any], chip: int) -> StuckBits:
    """A chip's stuck bits: a share of all bits, or one bit each in a share of all words."""
    name = f"chip {chip}"
    if job["per"] == "bit":
        drawn = cm.StuckAt(rate=RATE, at_1=job["at_1"])
        return stuck_bits(lab.memory, drawn, seed=SEED, chip=name)
    random, words = np.random.default_rng(chip_seed(SEED, name, "words")), lab.memory.words
    assert words is not None
    pattern = np.where(random.random(words) < RATE, 1 << random.integers(0, 8, words), 0)
    at_1 = random.random(words) < job["at_1"]
    ones, zeros = (np.where(which, pattern, 0).astype(np.uint8) for which in (at_1, ~at_1))
    return StuckBits.of_patterns(ones, zeros)


def measure(lab: Lab, job: dict[str, Any]) -> dict[str, Any]:
    """Mean accuracies over some chips: what unaware words read, and what FAQ makes of them."""
    memory = cm.WeightMemory(words=lab.memory.words, coding=job["coding"])
    filled = lab.calibration.filled(memory)
    order = torch.from_numpy(lab.task.look_order(0))[:PICTURES]
    pictures = ChosenSamples(lab.task.validation, order)
    found: dict[str, list[float]] = {"naive": [], "faq": []}
    for chip in range(CHIPS):
        hit = hit_words(filled, faults(lab, job, chip))
        for way, read in (("naive", Words.unaware), ("faq", Words.nearest)):
            network = lab.task.fresh_network()
            with torch.no_grad():
                for gemm in gemms(network):
                    weight = gemm.weight.flatten(1)
                    step = plain_steps(weight, memory.highest)
                    if job["steps"] == "tensor":
                        step = step.amax().expand_as(step)
                    along = step[:, None].float()
                    lost = torch.zeros(weight.shape, dtype=torch.bool)
                    words = Words(memory, hit[gemm.name], lost)
                    gemm.weight.copy_((read(words, weight / along) * along).view_as(gemm.weight))
            found[way].append(float(scores(network, pictures, lab.task.metric).mean()))
    return {way: statistics.mean(values) for way, values in found.items()}


def main() -> None:
    jobs = [
        {"network": network, "per": per, "steps": steps, "coding": coding, "at_1": at_1}
        for network, per, steps, coding, at_1 in itertools.product(
            NETWORKS, ("bit", "word"), ("output", "tensor"), CODINGS, (0.0, 0.5, 1.0)
        )
    ]
    rows = measured("collapse", jobs, measure)
    for row in sorted(rows, key=lambda r: (NETWORKS.index(r["job"]["network"]), r["naive"])):
        job = row["job"]
        print(
            f"{job['network']:12} per {job['per']:4}  step per {job['steps']:6}  "
            f"{job['coding']:15} stuck at 1: {job['at_1']:.0%}  naive {100 * row['naive']:.2f}  "
            f"FAQ {100 * row['faq']:.2f}  gain {100 * (row['faq'] - row['naive']):.2f}"
        )


if __name__ == "__main__":
    main()
