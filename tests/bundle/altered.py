"""Bundles that somebody altered, and that are refused."""

import json
import re

import pytest

from chipmend.bundle import read_bundle
from chipmend.bundle.container import digest_of_manifest, text_of
from chipmend.errors import BundleError


def altered(folder, *, reseal=False, **changes):
    path = folder / "manifest.json"
    manifest = {**json.loads(path.read_bytes()), **changes}
    if reseal:
        manifest["digest"] = digest_of_manifest(manifest)
    path.write_bytes(text_of(manifest))
    return folder


def refused(folder, said):
    with pytest.raises(BundleError, match=re.escape(said)) as caught:
        read_bundle(folder)
    assert caught.value.hint
