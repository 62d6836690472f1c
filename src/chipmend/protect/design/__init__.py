"""Designs of protection: their parameters, what they let through, cost, and come to."""

from chipmend.protect.design.accuracy import Fall
from chipmend.protect.design.evaluation import Evaluation, Evaluator, Targets, Variant
from chipmend.protect.design.parameters import Design, Quantization, Space
from chipmend.protect.design.protection import Protection
from chipmend.protect.design.subject import Subject

__all__ = [
    "Design",
    "Evaluation",
    "Evaluator",
    "Fall",
    "Protection",
    "Quantization",
    "Space",
    "Subject",
    "Targets",
    "Variant",
]
