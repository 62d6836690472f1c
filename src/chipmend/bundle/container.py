"""A folder with a manifest and the files that it names, each with its digest: whole or not at all.

A manifest is JSON with sorted keys, and holds a digest of all the rest of itself. So one digest
stands for everything in the folder, and the same content always gives the same bytes.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chipmend.errors import BundleError
from chipmend.files import cannot_write

MANIFEST = "manifest.json"
MOST_BYTES_OF_A_MANIFEST = 2**26
SIGNATURE = "signature"
_AGAIN = "copy the folder again from where it came"


def digest_of_manifest(manifest: Mapping[str, Any]) -> str:
    """Hex digest of a manifest but for its own digest and signature."""
    rest = {key: value for key, value in manifest.items() if key not in ("digest", SIGNATURE)}
    return hashlib.sha256(text_of(rest)).hexdigest()


def sealed(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    """A manifest that names files, with their digests and its own.

    Args:
        manifest: What it says; ``format`` and ``version`` among it.
        files: Content by plain name.
    """
    named = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in files.items()
    }
    whole = {**manifest, "files": named}
    return {**whole, "digest": digest_of_manifest(whole)}


def write_container(folder: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
    """Write a folder; an older one of the same name is replaced.

    Args:
        folder: Where.
        manifest: As ``sealed`` gives it.
        files: What it names.

    Returns:
        The folder.

    Raises:
        StoreError: It cannot be written. Nothing is left behind.
    """
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        draft.mkdir(parents=True)
        try:
            for name, content in {**files, MANIFEST: text_of(manifest)}.items():
                with (draft / name).open("xb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
            _put(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def read_container(
    folder: Path, kind: str, version: int, wanted: set[str]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a folder, and refuse it unless every byte is what was written.

    Args:
        folder: The folder.
        kind: What its manifest has to call itself.
        version: The newest version that can be read.
        wanted: Names of its files.

    Returns:
        The manifest, and the content of the files.

    Raises:
        BundleError: It is missing, something else, of a newer version, cut or altered.
    """
    manifest = _manifest(folder)
    if manifest.get("format") != kind:
        raise BundleError(f"{folder} is no {kind} but {manifest.get('format')!r}", hint=_AGAIN)
    if type(manifest.get("version")) is not int or not 1 <= manifest["version"] <= version:
        raise BundleError(
            f"{folder} has version {manifest.get('version')!r} of a {kind}, this chipmend reads up "
            f"to {version}",
            hint="read it with the chipmend that wrote it, or upgrade",
        )
    if manifest.get("digest") != digest_of_manifest(manifest):
        raise BundleError(
            f"{folder / MANIFEST} was altered: its digest does not match", hint=_AGAIN
        )
    named = manifest.get("files")
    if not isinstance(named, dict) or set(named) != wanted:
        raise BundleError(
            f"{folder / MANIFEST} names other files than {', '.join(sorted(wanted))}", hint=_AGAIN
        )
    return manifest, {name: _content(folder / name, named[name]) for name in sorted(wanted)}


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise BundleError(f"{path} is no file", hint=_AGAIN)
        if size > MOST_BYTES_OF_A_MANIFEST:
            raise BundleError(
                f"{path} has {size:,} bytes, and no manifest has more than "
                f"{MOST_BYTES_OF_A_MANIFEST:,}",
                hint=_AGAIN,
            )
        with path.open("rb") as stream:
            text = stream.read(MOST_BYTES_OF_A_MANIFEST + 1)
        found = json.loads(text)
    except OSError as error:
        raise BundleError(
            f"cannot read {path}: {error.strerror or error}",
            hint="give the folder of a bundle, as 'chipmend mend' names it",
        ) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is no JSON: {error}", hint=_AGAIN) from error
    if not isinstance(found, dict):
        raise BundleError(f"{path} is no manifest", hint=_AGAIN)
    if not _is_text_of(found, text):  # such as one that says a thing twice
        raise BundleError(f"{path} was altered: it is not as it was written", hint=_AGAIN)
    return found


def _is_text_of(manifest: dict[str, Any], text: bytes) -> bool:
    try:
        return text == text_of(manifest)
    except ValueError:  # numbers that JSON has none of
        return False


def _content(path: Path, named: Any) -> bytes:
    sizes = named.get("bytes") if isinstance(named, dict) else None
    if type(sizes) is not int:
        raise BundleError(f"the manifest does not say how large {path} is", hint=_AGAIN)
    try:
        there = path.stat().st_size
        if there != sizes or not path.is_file():
            raise BundleError(f"{path} has {there:,} bytes, and should have {sizes:,}", hint=_AGAIN)
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror or error}", hint=_AGAIN) from error
    if hashlib.sha256(content).hexdigest() != named.get("sha256"):
        raise BundleError(f"{path} was altered: its digest does not match", hint=_AGAIN)
    return content


def _put(draft: Path, folder: Path) -> None:
    """Have a folder appear under its name in one step."""
    if not folder.exists():
        draft.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
    folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def text_of(value: Any) -> bytes:
    """The one way in which a manifest is written."""
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()
