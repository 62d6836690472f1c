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
