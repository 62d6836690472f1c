import pytest

from chipmend.fleet.executor import ignore, reason_of


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no"), "ValueError: no"),
        (ValueError("first\nsecond"), "ValueError: first"),
        (KeyboardInterrupt(), "KeyboardInterrupt: no message"),
    ],
)
def test_an_error_is_told_in_one_line(error, told):
    assert reason_of(error) == told


def test_nobody_needs_to_listen():
    assert ignore(1, 2.0) is None
