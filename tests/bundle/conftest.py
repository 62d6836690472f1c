import shutil

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


@pytest.fixture
def copy(all_shipped, tmp_path):
    """A copy of a bundle, to be altered."""

    def copied(name="faq"):
        return shutil.copytree(all_shipped[name].bundle.path, tmp_path / name)

    return copied
