"""Signatures of bundles (Ed25519, RFC 8032): over the digest that stands for all of a bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chipmend.bundle.container import SIGNATURE
from chipmend.errors import BundleError
from chipmend.extras import imported
from chipmend.files import write_bytes

_EXTRA = "signing"
_KEYS = "cryptography.hazmat.primitives.asymmetric.ed25519"
_BYTES = 32
_PRIVATE = "chipmend private key "
"""What a file of a private key begins with: a public one is as long."""


class Key:
    """A private key.

    Args:
        private: Its 32 bytes.

    Raises:
        BundleError: It has another length.
        MissingExtraError: The extra ``signing`` is not installed.
    """

    def __init__(self, private: bytes) -> None:
        if len(private) != _BYTES:
            raise BundleError(
                f"a private key of {len(private)} bytes", hint=f"Ed25519 has keys of {_BYTES}"
            )
        self._key = imported(_KEYS, extra=_EXTRA).Ed25519PrivateKey.from_private_bytes(private)

    @classmethod
    def new(cls) -> "Key":
        """A new key, of the system's own randomness."""
        made = imported(_KEYS, extra=_EXTRA).Ed25519PrivateKey.generate()
        return cls(made.private_bytes_raw())

    @property
    def public(self) -> str:
        """The public key, in hex."""
        return self._key.public_key().public_bytes_raw().hex()

    def signature(self, digest: str) -> dict[str, str]:
        """The signature of a digest, with the public key that it can be checked by."""
        return {"public_key": self.public, "ed25519": self._key.sign(_message(digest)).hex()}

    def write(self, path: Path) -> Path:
        """Write the private key, for its owner alone."""
        write_bytes(path, f"{_PRIVATE}{self._key.private_bytes_raw().hex()}\n".encode())
        path.chmod(0o600)
        return path


def read_key(path: Path) -> Key:
    """Read a private key.

    Raises:
        BundleError: The file is missing or no key.
        MissingExtraError: The extra ``signing`` is not installed.
    """
    try:
        text = path.read_text().strip()
        if not text.startswith(_PRIVATE):
            raise ValueError(f"it does not begin with {_PRIVATE!r}")
        return Key(bytes.fromhex(text.removeprefix(_PRIVATE)))
    except OSError as error:
        raise BundleError(
            f"cannot read the key {path}: {error.strerror or error}",
            hint="make one: chipmend bundle key -o FILE",
        ) from error
    except ValueError as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(
            f"{path} is no private key: {error}", hint="make one: chipmend bundle key -o FILE"
        ) from error


def checked_signature(path: Path, manifest: Mapping[str, Any], signed_by: str | None) -> str:
    """Who signed a bundle.

    Args:
        path: Its folder, for errors.
        manifest: Its manifest.
        signed_by: Public key that it has to be signed with, in hex; any or none by default.

    Returns:
        The public key; empty if it is not signed.

    Raises:
        BundleError: The signature does not hold, or is not the one that was asked for.
        MissingExtraError: The extra ``signing`` is not installed.
    """
    signature = manifest.get(SIGNATURE)
    if signature is None:
        if signed_by is None:
            return ""
        raise BundleError(f"{path} is not signed", hint="take it from where it is, or sign it")
    try:
        public, signed = (bytes.fromhex(signature[name]) for name in ("public_key", "ed25519"))
    except (TypeError, KeyError, ValueError) as error:
        raise BundleError(f"{path} has a signature that is none", hint="sign it again") from error
    if signed_by is not None and public.hex() != signed_by.strip().lower():
        raise BundleError(
            f"{path} is signed with {public.hex()[:16]}..., not with {signed_by[:16]}...",
            hint="give the public key of whom you trust, or another bundle",
        )
    if [public.hex(), signed.hex()] != [signature["public_key"], signature["ed25519"]]:
        raise BundleError(f"{path} has a signature that is none", hint="sign it again")
    _check(path, public, signed, manifest["digest"])
    return public.hex()


def _check(path: Path, public: bytes, signed: bytes, digest: str) -> None:
    keys = imported(_KEYS, extra=_EXTRA)
    invalid = imported("cryptography.exceptions", extra=_EXTRA).InvalidSignature
    try:
        keys.Ed25519PublicKey.from_public_bytes(public).verify(signed, _message(digest))
    except (invalid, ValueError) as error:
        raise BundleError(
            f"the signature of {path} does not hold", hint="take it from its signer again"
        ) from error


def _message(digest: str) -> bytes:
    return f"chipmend bundle {digest}".encode()
