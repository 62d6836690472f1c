import pytest

from chipmend.data import fashion_mnist
from chipmend.errors import DataError


@pytest.fixture(scope="session")
def real():
    """The real data set, from wherever this machine has it or can have it from."""
    try:
        return fashion_mnist()
    except DataError as error:
        pytest.skip(f"Fashion-MNIST cannot be had: {error.message}")
