"""``chipmend bundle``: look at what ships to a chip, make files of it, make a key to sign with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from chipmend.cli.app import Json, app, check_outputs, finish, say

if TYPE_CHECKING:
    from chipmend.bundle import Base, Bundle

bundle = App(name="bundle", help="Look at what ships to a chip, and make files of it.")
app.command(bundle)

BaseFolder = Annotated[
    Path | None, Parameter(name="--base", help="Folder of the base; by default beside the bundle.")
]
SignedBy = Annotated[
    str | None, Parameter(help="Public key, in hex, that it has to be signed with.")
]


@bundle.command
def show(folder: Path, /, *, signed_by: SignedBy = None, json: Json = None) -> None:
    """Show what a bundle is for, what was done, and how large it is.

    Args:
        folder: The bundle's folder.
        signed_by: Public key, in hex, that it has to be signed with.
        json: Also write a machine-readable summary here.
    """
    from chipmend.bundle import read_bundle

    check_outputs(json, inputs=files_of(folder))
    read = read_bundle(folder, signed_by=signed_by)
    finish(None, lambda: summary(read), json, lambda: describe(read))


@bundle.command
def apply(
    folder: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    base: BaseFolder = None,
    signed_by: SignedBy = None,
    onnx: bool = True,
    json: Json = None,
) -> None:
    """Make the files of a bundle: weights, PEs to bypass, memory image, ONNX.

    Args:
        folder: The bundle's folder.
        output: Folder to write the files into.
        base: Folder of the base; by default beside the bundle.
        signed_by: Public key, in hex, that it has to be signed with.
        onnx: Whether a network of whole numbers is written as ONNX too.
        json: Also write a machine-readable summary here.
    """
    from chipmend.bundle import apply_bundle, read_bundle
    from chipmend.bundle.applying import MADE

    check_outputs(json, inputs=[*files_of(folder), *(output / name for name in MADE)])
    check_outputs(*(output / name for name in MADE), inputs=files_of(folder))
    read = read_bundle(folder, signed_by=signed_by)
    shared, digest = base_of(read, base)
    made = apply_bundle(read, shared, digest, output, onnx=onnx)
    finish(
        output,
        lambda: {**summary(read), "files": [str(path) for path in made]},
        json,
        lambda: [say(f"  {path.name}: {path.stat().st_size:,} bytes") for path in made],
    )


@bundle.command
def key(*, output: Annotated[Path, Parameter(name=("--output", "-o"))]) -> None:
    """Make a private key to sign bundles with, and say its public key.

    Args:
        output: The file to write; nobody but its owner may read it.
    """
    from chipmend.bundle import Key
    from chipmend.errors import StoreError

    if output.exists():
        raise StoreError(
            f"{output} is there already, and a key that is lost is lost",
            hint="give another name, or move it away",
        )
    made = Key.new()
    say(f"public key: {made.public}")
    finish(made.write(output), dict, None)


def files_of(folder: Path) -> list[Path]:
    """The files of a bundle, and of the bases beside it."""
    own = folder.resolve()
    return [path for path in (*own.glob("*"), *own.parent.glob("base-*/*")) if path.is_file()]


def base_of(read: "Bundle", base: Path | None) -> "tuple[Base, str]":
    """The base of a bundle: where it is said to be, or beside the bundle."""
    from chipmend.bundle import read_base
    from chipmend.bundle.base import base_beside
    from chipmend.errors import BundleError

    if base is None and not (base := base_beside(read.path, read.base)).exists():
        raise BundleError(
            f"{read.path} builds on a base that is not beside it: {base} is missing",
            hint="give its folder with --base",
        )
    return read_base(base)


def summary(read: "Bundle") -> dict[str, Any]:
    """What machines read."""
    from chipmend.records import plain

    return {
        "chip": read.chip.id,
        "faults": read.faults,
        "base": read.base,
        "plan": read.plan,
        "digest": read.digest,
        "signer": read.signer,
        "in_codes": read.in_codes,
        "steps": plain(read.steps),
        "accuracy": read.expected.accuracy,
        "bytes": read.size.bytes,
        "bytes_of_a_copy": read.size.full,
    }


def describe(read: "Bundle") -> None:
    """What people read."""
    from chipmend.report import in_words

    chip, size = read.chip, read.size
    where = ", ".join(
        f"{what} {value}"
        for what, value in (("lot", chip.lot), ("wafer", chip.wafer), ("x", chip.x), ("y", chip.y))
        if value not in ("", None)
    )
    say(f"chip {chip.id}" + (f" ({where})" if where else ""))
    say(f"  fault map {read.faults[:16]}, version {read.faults_version}")
    say(f"  {'whole numbers' if read.in_codes else 'real numbers'}: {in_words(read.steps)}")
    say(f"  recorded accuracy {100 * read.expected.accuracy:.2f} %")
    say(f"  {size.bytes:,} bytes, {100 * size.share:.1f} % of a copy of the network")
    say(f"  signed with {read.signer}" if read.signer else "  not signed")
