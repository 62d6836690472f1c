"""Matrix products on the array's Verilog, run by Icarus Verilog: the proof of the simulator.

The Verilog knows tiles and nothing else. What comes before it, which weight is put on which PE and
which activation enters by which row, is written down here as plainly as can be, and shares nothing
with the simulator.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np
from jaxtyping import Int64

from chipmend.errors import RtlError
from chipmend.faults.maps import FaultMap, check_map_fits
from chipmend.hardware.array import Array
from chipmend.hardware.mac import SITES
from chipmend.simulate.rtl.tools import need_icarus, run

SOURCES = [
    Path(__file__).with_name(f"{name}.v") for name in ("testbench", "array", "row", "mac", "adder")
]
MOST_SAMPLES = 4096


@dataclass(frozen=True, eq=False)
class Gemm:
    """A matrix product for one chip.

    Args:
        inputs: Whole numbers of 8 bits, signed or not, ``m x channels x taps``.
        weights: Whole numbers of the weight memory's bits, ``n x channels x taps``.
        faults: What is broken.
    """

    inputs: Int64[np.ndarray, "m channels taps"]
    weights: Int64[np.ndarray, "n channels taps"]
    faults: FaultMap


class Icarus:
    """The Verilog of one array, compiled; a context that cleans up behind itself.

    Args:
        array: The array.

    Raises:
        RtlError: Icarus Verilog is not installed, or does not take the sources.
    """

    def __init__(self, array: Array) -> None:
        need_icarus()
        self.array = array
        self._folder = TemporaryDirectory(prefix="chipmend-rtl-")
        self._compiled = Path(self._folder.name) / "array"
        try:
            self._compile()
        except BaseException:
            self._folder.cleanup()
            raise

    def _compile(self) -> None:
        array = self.array
        sums = array.accumulators
        parameters = {
            "ROWS": array.rows,
            "COLS": array.cols,
            "WEIGHT_BITS": array.memory.bits,
            "SUM_BITS": sums.bits,
            "OUTSIDE_BITS": sums.outside_bits,
            "SATURATE": int(sums.overflow == "saturate"),
            "REENTRY": int(sums.tiles == "reentry"),
            "MOST_SAMPLES": MOST_SAMPLES,
        }
        self._run(
            "iverilog",
            "-g2005",
            f"-pRECURSIVE_MOD_LIMIT={array.rows + 1}",
            "-Wall",
            "-Wno-timescale",
            *("-s", "testbench", "-o", str(self._compiled)),
            *(f"-Ptestbench.{name}={value}" for name, value in parameters.items()),
            *map(str, SOURCES),
        )

    def _run(self, *command: str) -> None:
        """Run what has nothing to say."""
        if said := run(*command).strip():
            raise RtlError(
                f"{command[0]} failed: {said[-500:]}", hint="this needs Icarus Verilog 11 or later"
            )

    def __enter__(self) -> "Icarus":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def products(self, gemms: Sequence[Gemm]) -> list[Int64[np.ndarray, "m n"]]:
        """Run matrix products, one after another.

        Args:
            gemms: What to compute.

        Returns:
            ``m x n`` for each.

        Raises:
            RtlError: The simulation came to no end, or there are too many samples.
        """
        jobs, sums = (Path(self._folder.name) / name for name in ("jobs", "sums"))
        with jobs.open("w") as stream:
            for gemm in gemms:
                stream.writelines(self._jobs(gemm))
        self._run("vvp", "-n", str(self._compiled), f"+jobs={jobs}", f"+sums={sums}")
        found = np.fromstring(sums.read_text(), dtype=np.int64, sep="\n")
        return list(self._gathered(gemms, found))

    def _jobs(self, gemm: Gemm) -> Iterator[str]:
        """A job for each column of tiles."""
        if len(gemm.inputs) > MOST_SAMPLES:
            raise RtlError(
                f"{len(gemm.inputs)} samples", hint=f"give at most {MOST_SAMPLES} at a time"
            )
        check_map_fits(gemm.faults, self.array, "the chip")
        passes = list(self._passes(gemm))
        head = [len(gemm.inputs), len(passes), *self._faults(gemm.faults)]
        cols = self.array.cols
        for first in range(0, len(gemm.weights), cols):
            numbers = list(head)
            for weights, activations in passes:
                tile = np.zeros((self.array.rows, cols), dtype=np.int64)
                some = weights[:, first : first + cols]
                tile[:, : some.shape[1]] = some
                numbers += (tile.ravel() % 2**self.array.memory.bits).tolist()
                numbers += (activations.ravel() % 2**9).tolist()
            yield " ".join(f"{number:x}" for number in numbers) + "\n"

    def _passes(self, gemm: Gemm) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Weights, ``rows x n``, and activations, ``m x rows``, of each pass; zeros where idle."""
        rows = self.array.rows
        n, channels, taps = gemm.weights.shape
        if self.array.placement == "im2col":
            places = [[(c, tap)] for c in range(channels) for tap in range(taps)]
        else:
            places = [[(c, tap) for tap in range(taps)] for c in range(channels)]
        for first in range(0, len(places), rows):
            for turn in range(len(places[0])):
                weights = np.zeros((rows, n), dtype=np.int64)
                activations = np.zeros((len(gemm.inputs), rows), dtype=np.int64)
                for row, turns in enumerate(places[first : first + rows]):
                    channel, tap = turns[turn]
                    weights[row] = gemm.weights[:, channel, tap]
                    activations[:, row] = gemm.inputs[:, channel, tap]
                yield weights, activations

    def _faults(self, faults: FaultMap) -> list[int]:
        """For every PE whether it is bypassed, and the patterns of its sites: ones, zeros."""
        size = (self.array.rows, self.array.cols)
        patterns: list[np.ndarray] = [faults.unusable.astype(np.int64)]
        for site in SITES:
            none = np.zeros(size, dtype=np.int64)
            patterns += (none, none) if faults.macs is None else faults.macs.patterns(site, *size)
        return np.stack(patterns, axis=-1).ravel().tolist()

    def _gathered(self, gemms: Sequence[Gemm], found: np.ndarray) -> Iterator[np.ndarray]:
        first, cols = 0, self.array.cols
        for gemm in gemms:
            m, n = len(gemm.inputs), len(gemm.weights)
            tiles = -(-n // cols)
            here = found[first : first + tiles * m * cols].reshape(tiles, m, cols)
            first += here.size
            yield here.transpose(1, 0, 2).reshape(m, -1)[:, :n]
        if first != len(found):
            raise RtlError(
                f"the simulation gave {len(found)} numbers where {first} were wanted",
                hint="this is a mistake of chipmend's own: please report it",
            )
