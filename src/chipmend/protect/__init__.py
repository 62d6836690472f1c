"""Protection chosen before tape-out: the cheapest that makes a network reliable.

References:
    [Liu2023] Liu et al., "Cross-Layer Optimization for Fault-Tolerant Deep Learning",
        arXiv 2312.13754.
"""

from chipmend.protect.design import Design, Evaluation, Space, Targets
from chipmend.protect.search import Searching
from chipmend.protect.study import DesignOutcome, Row, Study

__all__ = [
    "Design",
    "DesignOutcome",
    "Evaluation",
    "Row",
    "Searching",
    "Space",
    "Study",
    "Targets",
]
