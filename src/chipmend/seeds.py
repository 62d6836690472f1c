"""Seeds and selections that depend on nothing but their arguments.

Order of work, number of workers and library versions never change what is drawn.
"""

import hashlib


def chip_seed(seed: int, chip: str, purpose: str) -> int:
    """Give the seed of one random choice for one chip.

    Args:
        seed: The seed of the whole run.
        chip: Identity of the chip.
        purpose: What the draw is for; two purposes never share a stream.

    Returns:
        A number of 63 bits.

    Example:
        >>> chip_seed(0, "a", "retrain") == chip_seed(0, "a", "retrain")
        True
        >>> chip_seed(0, "a", "retrain") == chip_seed(0, "b", "retrain")
        False
    """
    return int.from_bytes(_digest(f"{seed}/{chip}/{purpose}"), "big") >> 1


def shuffled(count: int, seed: int, purpose: str) -> list[int]:
    """Put ``0 .. count - 1`` into an order that no library version changes.

    Args:
        count: How many indices.
        seed: The seed.
        purpose: What the order is for.

    Returns:
        Every index once.

    Example:
        >>> sorted(shuffled(5, seed=0, purpose="split"))
        [0, 1, 2, 3, 4]
    """
    return sorted(range(count), key=lambda index: _digest(f"{seed}/{purpose}/{index}"))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
