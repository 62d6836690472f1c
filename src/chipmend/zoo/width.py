"""Channels of a network that is made narrower or wider as a whole."""

from chipmend.errors import NetworkError


def scaled(channels: int, width: float, *, multiple_of: int = 1) -> int:
    """How many channels a layer has at some width.

    Args:
        channels: At full width.
        width: Factor on it.
        multiple_of: What the number is rounded to; where that would take away more than a tenth,
            one multiple more, as MobileNets have it.

    Raises:
        NetworkError: None would be left.

    Example:
        >>> scaled(64, 0.25), scaled(24, 0.5, multiple_of=8)
        (16, 16)
    """
    wanted = channels * width
    if not wanted >= 1:
        raise NetworkError(
            f"width {width} leaves a layer of {channels} without channels",
            hint=f"give 1/{channels} or more",
        )
    found = max(multiple_of, int(wanted / multiple_of + 0.5) * multiple_of)
    return found + multiple_of if multiple_of > 1 and found < 0.9 * wanted else found
