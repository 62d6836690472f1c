"""What ships to a chip: bundles, the base that they share, and the proof that they work there."""

from chipmend.bundle.applying import apply_bundle
from chipmend.bundle.base import Base, copy_base, read_base, write_base
from chipmend.bundle.bundle import Bundle, Expected, copy_bundle, read_bundle, write_bundle
from chipmend.bundle.delta import Repair
from chipmend.bundle.signing import Key, read_key
from chipmend.bundle.verification import Verified, network_of, verify

__all__ = [
    "Base",
    "Bundle",
    "Expected",
    "Key",
    "Repair",
    "Verified",
    "apply_bundle",
    "copy_base",
    "copy_bundle",
    "network_of",
    "read_base",
    "read_bundle",
    "read_key",
    "verify",
    "write_base",
    "write_bundle",
]
