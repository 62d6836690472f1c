import json
import shutil

import pytest

from bundle.shipped import shipped
from chipmend.bundle import Key, read_bundle, read_key
from chipmend.bundle.container import text_of
from chipmend.errors import BundleError, MissingExtraError

PRIVATE = bytes(range(32))


def test_the_signature_is_that_of_the_standard():
    """RFC 8032, section 7.1, test 1: the public key of a private one."""
    private = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert Key(bytes.fromhex(private)).public == public


@pytest.fixture(scope="module")
def signed(made_task, tmp_path_factory):
    return shipped("faq", tmp_path_factory.mktemp("signed"), made_task, key=Key(PRIVATE))


def test_who_signed_is_told(signed, all_shipped):
    public = Key(PRIVATE).public
    assert read_bundle(signed.bundle.path).signer == public
    assert read_bundle(signed.bundle.path, signed_by=public.upper()).signer == public
    assert signed.bundle.digest == all_shipped["faq"].bundle.digest
    assert all_shipped["faq"].bundle.signer == ""


def test_an_unsigned_bundle_is_refused_when_asked_to(all_shipped):
    with pytest.raises(BundleError, match="is not signed"):
        read_bundle(all_shipped["faq"].bundle.path, signed_by=Key(PRIVATE).public)


def test_another_signer_is_refused_when_asked_to(signed):
    other = Key(bytes(32)).public
    with pytest.raises(BundleError, match="is signed with"):
        read_bundle(signed.bundle.path, signed_by=other)


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ({"ed25519": "00" * 64}, "does not hold"),
        ({"public_key": Key(bytes(32)).public}, "does not hold"),
        ({"public_key": "00"}, "does not hold"),
        ({"public_key": "no hex"}, "is none"),
        ({"ed25519": None}, "is none"),
    ],
)
def test_a_signature_that_does_not_hold_is_refused(signed, tmp_path, signature, said):
    folder = shutil.copytree(signed.bundle.path, tmp_path / "b")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["signature"].update(signature)
    (folder / "manifest.json").write_bytes(text_of(manifest))
    with pytest.raises(BundleError, match=said):
        read_bundle(folder)


def test_a_signature_of_another_bundle_does_not_hold(signed, all_shipped, tmp_path):
    folder = shutil.copytree(all_shipped["compensated"].bundle.path, tmp_path / "b")
    theirs = json.loads((signed.bundle.path / "manifest.json").read_bytes())["signature"]
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_bytes(text_of({**manifest, "signature": theirs}))
    with pytest.raises(BundleError, match="does not hold"):
        read_bundle(folder)


def test_keys_are_kept_in_files_of_their_owner(tmp_path):
    key = Key.new()
    path = key.write(tmp_path / "key")
    assert path.stat().st_mode & 0o077 == 0
    assert read_key(path).public == key.public
    assert Key.new().public != key.public


def test_what_is_no_key_is_refused(tmp_path):
    with pytest.raises(BundleError, match="cannot read the key"):
        read_key(tmp_path / "nowhere")
    for text, said in (
        ("no key", "is no private key"),
        ("00" * 32, "does not begin with"),  # as long as a public key
        ("chipmend private key no hex", "is no private key"),
        ("chipmend private key 00", "a private key of 1 bytes"),
    ):
        (tmp_path / "key").write_text(text)
        with pytest.raises(BundleError, match=said):
            read_key(tmp_path / "key")


def test_without_the_extra_it_is_named(signed, monkeypatch):
    monkeypatch.setitem(
        __import__("sys").modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None
    )
    with pytest.raises(MissingExtraError) as caught:
        read_bundle(signed.bundle.path)
    assert "chipmend[signing]" in caught.value.hint
