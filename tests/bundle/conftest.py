import pytest

from bundle.shipped import RECIPES, shipped
from conftest import tiny_task


@pytest.fixture(scope="package")
def made_task():
    return tiny_task()


@pytest.fixture(scope="package")
def all_shipped(made_task, tmp_path_factory):
    """A bundle of every kind; tests copy what they change."""
    folder = tmp_path_factory.mktemp("bundles")
    return {name: shipped(name, folder, made_task) for name in RECIPES}
