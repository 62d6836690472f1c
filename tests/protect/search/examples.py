"""An evaluator that is asked for known things only, and a made-up law of accuracy."""

from dataclasses import replace

import numpy as np

from chipmend.protect.design import Evaluator, Fall, Quantization, Space, Targets, Variant
from chipmend.protect.search import Candidates
from protect import small
from protect.design.examples import ERRORS, subject

SPACE = Space(
    ordinary_bits=(0, 22),
    important=(0.0, 0.02, 0.1),
    important_bits=(22,),
    lanes=(2, 4),
    activation_range=(1.0,),
)
TARGETS = Targets(slowdown=0.5)


def evaluator(**given):
    variants = {(4, 3, Quantization()): Variant(subject=subject(), lost=0.0)}
    wanted = {"errors": ERRORS, "targets": TARGETS, "seed": 0, **given}
    return Evaluator(array=small.ARRAY, variants=variants, batches=[], clean=np.zeros(0), **wanted)


def candidates():
    return Candidates.of(SPACE, small.ARRAY, evaluator(), seed=0)


def measured(known):
    """A drop that follows expected harm, up to a kink."""
    drop = known.harm**1.5 / 40
    fall = Fall(drop=drop, error=0.001, p_value=float(drop > 0.01), samples=1000, right=0.9)
    missed = () if drop <= 0.01 else ("drop_under_faults",)
    return replace(known, fall=fall, missed=(*known.missed, *missed))
