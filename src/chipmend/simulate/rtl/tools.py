"""Icarus Verilog as a tool: found, asked for, and run."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from chipmend.errors import RtlError


def found_icarus() -> bool:
    """Whether Icarus Verilog is installed."""
    return shutil.which("iverilog") is not None and shutil.which("vvp") is not None


def need_icarus() -> None:
    """Refuse to go on without Icarus Verilog.

    Raises:
        RtlError: It is not installed.
    """
    if not found_icarus():
        raise RtlError(
            "Icarus Verilog is not installed", hint="install it: apt-get install iverilog"
        )


def run(*command: str) -> str:
    """Run a tool to its end.

    Args:
        command: The tool and what it is given.

    Returns:
        What it said, and what it warned of.

    Raises:
        RtlError: It failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    said = done.stdout + done.stderr
    if done.returncode:
        raise RtlError(
            f"{command[0]} failed: {said.strip()[-500:] or f'exit code {done.returncode}'}",
            hint="this needs Icarus Verilog 11 or later",
        )
    return said


def simulated(testbench: str, sources: Iterable[Path]) -> str:
    """Simulate a testbench.

    Args:
        testbench: Its Verilog.
        sources: Files of what it tests.

    Returns:
        What it displayed.

    Raises:
        RtlError: Icarus Verilog is not installed, or does not take the sources.
    """
    need_icarus()
    with TemporaryDirectory(prefix="chipmend-rtl-") as folder:
        bench, compiled = Path(folder) / "testbench.v", str(Path(folder) / "bench")
        bench.write_text(testbench)
        run("iverilog", "-g2005", "-o", compiled, str(bench), *map(str, sources))
        return run("vvp", "-n", compiled)
