"""Protection chosen before tape-out: which neurons and bits the loss answers to.

References:
    [Liu2023] Liu et al., "Cross-Layer Optimization for Fault-Tolerant Deep Learning",
        arXiv 2312.13754.
"""
