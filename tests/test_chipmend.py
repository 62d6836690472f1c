import re
import subprocess
import sys

import pytest

import chipmend

GROUND = ["chipmend", *(f"chipmend.{m}" for m in ("errors", "seeds", "files", "records", "steps"))]


@pytest.mark.parametrize("module", GROUND)
def test_importing_the_ground_does_not_import_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", chipmend.__version__)


NOT_OF_USE = """
import chipmend
if {late}:
    import chipmend.cli, chipmend.fleet, chipmend.report
for name in chipmend.__all__:
    if not (callable(getattr(chipmend, name, None)) or name == "__version__"):
        print(name)
"""


@pytest.mark.parametrize("late", [False, True])
def test_every_public_name_is_a_class_or_a_function_whatever_was_imported_before(late):
    done = subprocess.run(
        [sys.executable, "-c", NOT_OF_USE.format(late=late)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == []


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = chipmend.no_such_name
