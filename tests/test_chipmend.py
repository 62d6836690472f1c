import re
import subprocess
import sys
from importlib import import_module

import pytest

import chipmend

GROUND = ["chipmend", *(f"chipmend.{m}" for m in ("errors", "seeds", "files", "records", "steps"))]


@pytest.mark.parametrize("module", GROUND)
def test_importing_the_ground_does_not_import_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", chipmend.__version__)


@pytest.mark.parametrize("name", [n for n in chipmend.__all__ if not n.startswith("__")])
def test_every_public_name_is_what_a_folder_of_its_own_offers(name):
    found = getattr(chipmend, name)
    original = getattr(found, "__name__", name)
    assert getattr(import_module(found.__module__), original) is found
    assert name in dir(chipmend)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = chipmend.no_such_name
