"""``chipmend chips``: make, import, export and look at lots of faulty chips."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from chipmend.cli.app import Json, Whole, app, check_outputs, finish, say
from chipmend.errors import ArrayError, LotError

if TYPE_CHECKING:
    from chipmend.faults import Cells, Chip, Lot, MacsAt
    from chipmend.hardware import Array

chips = App(name="chips", help="Make, import, export and look at lots of faulty chips.")
app.command(chips)

Output = Annotated[Path, Parameter(name=("--output", "-o"), help="The lot file to write.")]
Size = Annotated[str, Parameter(name="--array", help="Rows x columns of the array, as 64x64.")]
Words = Annotated[int | None, Parameter(help="Words of the weight memory.")]
Bits = Annotated[int, Parameter(help="Bits of a word.")]
Sums = Annotated[int, Parameter(name="--accumulators", help="Bits of a PE's accumulator.")]


@chips.command
def make(
    *,
    array: Size,
    rate: str,
    output: Output,
    count: Whole = 1,
    spatial: Literal["uniform", "clustered", "lines"] = "uniform",
    spread: Literal["drawn", "even"] = "drawn",
    alpha: float | None = None,
    stuck: str | None = None,
    cells: Literal["scattered", "bit_lines", "word_lines"] = "scattered",
    at_1: float = 0.5,
    words: Words = None,
    bits: Bits = 8,
    macs: float | None = None,
    sites: str = "accumulator",
    mac_bits: str | None = None,
    accumulators: Sums = 32,
    nested: bool = False,
    seed: Whole = 0,
    json: Json = None,
) -> None:
    """Make a lot of chips with random faults.

    Args:
        array: Rows x columns of the array, as 64x64.
        rate: Fault rate (base: per PE) as a fraction, or a range as 0.01:0.5.
        output: The lot file to write.
        count: How many chips.
        spatial: How faults lie on the die.
        spread: Whether rates are drawn in the range, or spread evenly over it.
        alpha: How much clustered dies differ: small is much, inf is not at all; 2 by default.
        stuck: Rate of stuck bits (base: per bit), or a range as 0:0.08; needs --words.
        cells: How stuck bits lie in the weight memory.
        at_1: Share of them that is stuck at 1.
        words: Words of the weight memory.
        bits: Bits of a word.
        macs: Share of PEs (base: per PE) with a stuck bit in their datapath that nothing bypasses.
        sites: Where such bits are, as weight,product,accumulator.
        mac_bits: Which bits they are, as 18:22; any that a site has by default.
        accumulators: Bits of a PE's accumulator.
        nested: Whether a chip's map at a lower rate is a part of its map at a higher rate.
        seed: The seed.
        json: Also write a machine-readable summary here.
    """
    from chipmend.faults import Clustered, Lines, StuckAt, Uniform, make_chips, write_lot

    check_outputs(output, json)
    if stuck is None and (cells, at_1) != ("scattered", 0.5):
        raise LotError(
            "--cells and --at-1 say how stuck bits lie, and none are asked for",
            hint="leave them out, or give the rate of stuck bits with --stuck",
        )
    if alpha is not None and spatial != "clustered":
        raise LotError(
            f"--alpha {alpha:g} says nothing about {spatial} faults",
            hint="leave it out, or add --spatial clustered",
        )
    clustered = Clustered() if alpha is None else Clustered(alpha=alpha)
    kinds = {"uniform": Uniform(), "lines": Lines(), "clustered": clustered}
    kind = StuckAt(rate=_rate(stuck, "--stuck"), cells=_cells(cells), at_1=at_1) if stuck else None
    if macs is None and (sites, mac_bits) != ("accumulator", None):
        raise LotError(
            "--sites and --mac-bits say where datapaths are stuck, and none is asked for",
            hint="leave them out, or give the share of PEs that are hit with --macs",
        )
    lot = make_chips(
        _array(array, words, bits, accumulators),
        rate=_rate(rate, "--rate"),
        count=count,
        spatial=kinds[spatial],
        seed=seed,
        nested=nested,
        spread=spread,
        stuck=kind,
        macs=None if macs is None else _macs(macs, sites, mac_bits),
    )
    write_lot(lot, output)
    finish(output, lambda: _summary(lot), json, lambda: _describe(lot))


@chips.command(name="import")
def import_(
    faults: Path,
    /,
    *,
    array: Size,
    output: Output,
    words: Words = None,
    bits: Bits = 8,
    accumulators: Sums = 32,
    json: Json = None,
) -> None:
    """Make a lot file of a CSV of faults.

    Args:
        faults: The CSV: chip, class, row, col, word, bit, value.
        array: Rows x columns of the array, as 64x64.
        output: The lot file to write.
        words: Words of the weight memory, needed where bits of it are stuck.
        bits: Bits of a word.
        accumulators: Bits of a PE's accumulator.
        json: Also write a machine-readable summary here.
    """
    from chipmend.faults import read_csv, write_lot

    check_outputs(output, json, inputs=[faults])
    lot = read_csv(faults, _array(array, words, bits, accumulators))
    write_lot(lot, output)
    finish(output, lambda: _summary(lot), json, lambda: _describe(lot))


@chips.command
def export(
    lot: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    json: Json = None,
) -> None:
    """Write a lot as a CSV of faults.

    Args:
        lot: The lot file.
        output: The CSV to write.
        json: Also write a machine-readable summary here.
    """
    from chipmend.faults import read_lot, write_csv

    check_outputs(output, json, inputs=[lot])
    read = read_lot(lot)
    write_csv(read, output)
    finish(output, lambda: _summary(read), json)


@chips.command
def show(
    lot: Path,
    /,
    *,
    chip: str | None = None,
    picture: Path | None = None,
    json: Json = None,
) -> None:
    """Show a lot: counts, rates, classes, what bypass and spares do for it, a picture of a map.

    Args:
        lot: The lot file.
        chip: The chip to picture; by default one in the middle of the lot.
        picture: Also write the picture here, as a PNG.
        json: Also write a machine-readable summary here.
    """
    from chipmend.faults import png_picture, read_lot
    from chipmend.files import write_bytes

    check_outputs(picture, json, inputs=[lot])
    read = read_lot(lot)
    shown = _chip(read, chip)
    made = None if picture is None else write_bytes(picture, png_picture(shown.faults))
    baselines = _baselines(read)
    finish(
        made,
        lambda: {**_summary(read), **baselines},
        json,
        lambda: (_describe(read), _describe_baselines(len(read), baselines), _draw(shown)),
    )


def _array(size: str, words: int | None, bits: int, accumulators: int) -> "Array":
    from chipmend.hardware import Accumulators, Array, WeightMemory

    rows, _, cols = size.lower().partition("x")
    if not (rows.isdecimal() and cols.isdecimal()):
        raise ArrayError(f"--array {size}: not a size", hint="write rows x columns, as 64x64")
    return Array(
        rows=int(rows),
        cols=int(cols),
        memory=WeightMemory(words=words, bits=bits),
        accumulators=Accumulators(bits=accumulators),
    )


def _rate(text: str, option: str) -> float | tuple[float, float]:
    try:
        ends = [float(end) for end in text.split(":")]
    except ValueError:
        ends = []
    if len(ends) not in (1, 2):
        raise LotError(
            f"{option} {text}: not a rate",
            hint="write a fraction, as 0.05, or a range, as 0.01:0.5",
        )
    return ends[0] if len(ends) == 1 else (ends[0], ends[1])


def _cells(kind: Literal["scattered", "bit_lines", "word_lines"]) -> "Cells":
    from chipmend.faults import BitLines, Scattered, WordLines

    return {"scattered": Scattered(), "bit_lines": BitLines(), "word_lines": WordLines()}[kind]


def _macs(rate: float, sites: str, bits: str | None) -> "MacsAt":
    from chipmend.faults import MacsAt

    try:
        low, high = None, None
        if bits is not None:
            low, high = map(int, bits.split(":"))
    except ValueError:
        raise LotError(
            f"--mac-bits {bits}: not a range of bits", hint="write the ends, as 18:22"
        ) from None
    ends = None if low is None or high is None else (low, high)
    named: Any = tuple(site.strip() for site in sites.split(","))
    return MacsAt(rate=rate, sites=named, bits=ends)


def _chip(lot: "Lot", chip: str | None) -> "Chip":
    if chip is None:
        repairable = [i for i, c in enumerate(lot) if not c.faults.fatal] or range(len(lot))
        return lot[repairable[len(repairable) // 2]]
    found = next((c for c in lot if c.id == chip), None)
    if found is None:
        raise LotError(
            f"there is no chip {chip!r} in the lot", hint=f"chips are named as {lot[0].id!r}"
        )
    return found


def _summary(lot: "Lot") -> dict[str, Any]:
    """Counts over the lot; rates are those of the dies that are not dead altogether."""
    alive = [chip.faults for chip in lot if not chip.faults.fatal]
    summary = {
        "chips": len(lot),
        "array": [lot.rows, lot.cols],
        "rate_per_pe": _spread([faults.rate for faults in alive]),
        "classes": _classes(lot),
    }
    placed = [chip for chip in lot if chip.x is not None and chip.y is not None]
    if placed:
        summary["placed_chips"] = len(placed)
        summary["wafers"] = len({(chip.lot, chip.wafer) for chip in placed})
    times = [chip.faults.provenance.tester_seconds for chip in lot]
    if known := [seconds for seconds in times if seconds is not None]:
        summary["tester_seconds"] = sum(known)
        summary["timed_chips"] = len(known)
    if lot.stuck is not None:
        rates = [faults.stuck.rate if faults.stuck else 0.0 for faults in alive]
        summary["memory"] = {"words": lot.stuck.words, "bits": lot.stuck.bits}
        summary["rate_per_bit"] = _spread(rates)
    return summary


def _spread(shares: Sequence[float]) -> dict[str, float]:
    """Extremes and mean; nothing of nothing."""
    if not shares:
        return {}
    return {"min": min(shares), "mean": sum(shares) / len(shares), "max": max(shares)}


def _classes(lot: Sequence["Chip"]) -> dict[str, int]:
    """Faults of each class over the lot."""
    return {
        "pe": sum(int(chip.faults.faulty_pes.sum()) for chip in lot),
        "dead_row": sum(len(chip.faults.dead_rows) for chip in lot),
        "dead_col": sum(len(chip.faults.dead_cols) for chip in lot),
        "stuck_bit": sum(chip.faults.stuck.count for chip in lot if chip.faults.stuck),
        "stuck_mac_bit": sum(len(chip.faults.macs) for chip in lot if chip.faults.macs),
        "fatal": sum(bool(chip.faults.fatal) for chip in lot),
    }


def _baselines(lot: "Lot") -> dict[str, Any]:
    """What there is without a change of the network; bypass is that of dies not dead altogether."""
    from chipmend.faults import RegionalSpares, bypass_rows_or_cols, spares_cover
    from chipmend.hardware import Array, PeShare

    worth = PeShare(Array(rows=lot.rows, cols=lot.cols))
    left = [bypass_rows_or_cols(c.faults, worth).share for c in lot if not c.faults.fatal]
    region = RegionalSpares(rows=min(8, lot.rows), cols=min(8, lot.cols))
    found = spares_cover(lot, region)
    return {
        "pes_left_by_bypass": _spread(left),
        "covered_by_spares": {
            "region": [region.rows, region.cols],
            "spares": region.spares,
            "covered": found.covered,
            "share": found.share,
            "interval_95": [found.low, found.high],
        },
    }


def _describe_baselines(chips: int, baselines: Mapping[str, Any]) -> None:
    left, covered = baselines["pes_left_by_bypass"], baselines["covered_by_spares"]
    rows, cols = covered["region"]
    low, high = (f"{100 * end:.3g}" for end in covered["interval_95"])
    if left:
        say(f"PEs left without the rows, or the columns, that hold faults: {_percent(left)}")
    say(
        f"one spare per {rows} x {cols} PEs covers {covered['covered']} of {chips} chips: "
        f"{100 * covered['share']:.3g} % (95 % interval {low} to {high} %)"
    )


def _percent(spread: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.3g} %" for name, share in spread.items())


def _describe(lot: "Lot") -> None:
    summary = _summary(lot)
    rows, cols = summary["array"]
    rates = summary["rate_per_pe"]
    say(f"{len(lot)} chips of {rows} x {cols} PEs")
    shares = _percent(rates)
    fatal = summary["classes"]["fatal"]
    left_out = f"; {fatal} unrepairable left out" if fatal else ""
    say(f"unusable PEs (base: per PE): {shares or 'no chip can be repaired'}{left_out}")
    if memory := summary.get("memory"):
        size = f"{memory['words']:,} words of {memory['bits']} bits"
        say(f"stuck bits of {size} (base: per bit): {_percent(summary['rate_per_bit']) or 'none'}")
    say(", ".join(f"{name} faults: {count}" for name, count in summary["classes"].items()))
    if placed := summary.get("placed_chips"):
        say(f"{placed} chips have their place on one of {summary['wafers']} wafers")
    if timed := summary.get("timed_chips"):
        say(f"{summary['tester_seconds']:.1f} s on the tester for {timed} chips")


def _draw(chip: "Chip") -> None:
    from chipmend.faults import ascii_picture

    share = f"{100 * chip.faults.rate:.3g} % of PEs must not be used"
    said = f"unrepairable: {chip.faults.fatal}" if chip.faults.fatal else share
    say(f"\nchip {chip.id}: {said}")
    picture = ascii_picture(chip.faults.unusable)
    say(picture)
