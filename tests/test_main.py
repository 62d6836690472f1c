import subprocess
import sys


def test_the_package_runs_as_the_command():
    ended = subprocess.run(
        [sys.executable, "-m", "chipmend", "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith("chipmend ")
