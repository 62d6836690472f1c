"""Protection chosen before tape-out: the cheapest that makes a network reliable.

References:
    [Liu2023] Liu et al., "Cross-Layer Optimization for Fault-Tolerant Deep Learning",
        arXiv 2312.13754.
"""
