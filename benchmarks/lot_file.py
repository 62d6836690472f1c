"""How long a lot of 10,000 chips takes to write and to read, every map unpacked."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import record

from chipmend.faults import Lot, Uniform, make_chips, read_lot, write_lot
from chipmend.hardware import Array

ARRAY = Array(rows=256, cols=256)
RATE = 0.05
ROUNDS = 3


def main() -> None:
    options = record.arguments(__doc__ or "")
    start = time.perf_counter()
    lot = make_chips(ARRAY, rate=RATE, count=500 if options.quick else 10_000, spatial=Uniform())
    make_seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(lot, Path(folder) / "lot.npz") for _ in range(ROUNDS)]
    figures = {
        "chips": len(lot),
        "make_seconds": make_seconds,
        **{name: statistics.median(row[name] for row in rows) for name in rows[0]},
    }
    record.write("lot_file", options, figures, rows)


def measured(lot: Lot, path: Path) -> dict[str, Any]:
    """One round: write, read, and the rate of every map, which unpacks it."""
    start = time.perf_counter()
    write_lot(lot, path)
    written = time.perf_counter()
    rates = read_lot(path).rates
    read = time.perf_counter()
    if len(rates) != len(lot) or abs(float(rates.mean()) - RATE) > 0.01:
        raise SystemExit("the lot that was read is not the lot that was written")
    return {
        "write_seconds": written - start,
        "read_seconds": read - written,
        "file_mib": path.stat().st_size / 2**20,
    }


if __name__ == "__main__":
    main()
