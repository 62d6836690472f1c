import json

import pytest

from chipmend.bundle.container import text_of
from chipmend.fleet import read_outcome

CODED = {
    "kind": "steps",
    "steps": [{"kind": "prune"}, {"kind": "quantize", "samples": 64}],
}


@pytest.fixture
def mended(workshop):
    workshop.done("mend", workshop.plan(policy=CODED), "--verify", "none")
    return workshop


BUNDLE = "run/bundles/chip-0002"


def test_a_bundle_is_run_on_its_chip(mended):
    shown = mended.done("verify", BUNDLE, "--json", "s.json")
    record = read_outcome(mended.folder / "run").records[1]
    assert f"chip chip-0002: {100 * record.accuracy:.2f} % on its bit-exact model" in shown
    assert "it holds" in shown
    summary = mended.summary()
    assert summary["accuracy"] == summary["recorded"] == record.accuracy
    assert summary["holds"] is True
    assert summary["agreement"] >= 0.999


def test_bundles_are_verified_with_a_flag(workshop):
    shown = workshop.done("mend", workshop.plan(policy=CODED), "--verify", "all")
    assert "3 bundles, " in shown
    assert "3 of 3 that were verified do on their chips what was recorded" in shown


def test_an_altered_bundle_is_an_error_of_ours(mended):
    path = mended.folder / BUNDLE / "delta.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    assert "was altered" in mended.refused("verify", BUNDLE)


def test_a_promise_that_is_not_kept_is_an_error(mended, monkeypatch):
    monkeypatch.setattr("chipmend.bundle.verification._reasons", lambda *_: ["it is another"])
    assert "does not hold: it is another" in mended.refused("verify", BUNDLE)


def test_the_plan_of_another_lot_is_refused(mended):
    other = mended.plan("other.toml", policy=CODED, chips={"rate": 0.3, "count": 1})
    said = mended.refused("verify", BUNDLE, "--plan", other)
    assert "is for chip chip-0002, which is not in the plan's lot" in said
    seeded = {"rate": [0.1, 0.5], "count": 3, "seed": 9}
    other = mended.plan("other.toml", policy=CODED, chips=seeded)
    assert "another fault map of chip chip-0002" in mended.refused(
        "verify", BUNDLE, "--plan", other
    )


def test_a_bundle_elsewhere_needs_its_base_and_its_plan(mended):
    (mended.folder / "away").mkdir()
    (mended.folder / BUNDLE).rename(mended.folder / "away" / "b")
    said = mended.refused("verify", "away/b")
    assert "builds on a base that is not beside it" in said
    assert "give its folder with --base" in said
    (base,) = (mended.folder / "run" / "bundles").glob("base-*")
    assert "give the plan with --plan" in mended.refused("verify", "away/b", "--base", base)
    plan = mended.plan(policy=CODED)
    assert "it holds" in mended.done("verify", "away/b", "--base", base, "--plan", plan)


def test_what_is_no_bundle_is_refused(mended):
    assert "cannot read nowhere/manifest.json" in mended.refused("verify", "nowhere")
    (mended.folder / "run" / "plan.json").write_text("{")
    assert "no run folder with a plan" in mended.refused("verify", BUNDLE)


def test_a_signature_is_asked_for(workshop):
    public = workshop.done("bundle", "key", "-o", "my.key").split()[2]
    plan = workshop.plan(policy=CODED)
    workshop.done("mend", plan, "--sign", "my.key", "--verify", "none")
    assert f"signed with {public}" in workshop.done("bundle", "show", BUNDLE)
    workshop.done("verify", BUNDLE, "--signed-by", public)
    assert "is signed with" in workshop.refused("verify", BUNDLE, "--signed-by", "00" * 32)
    assert "cannot read the key" in workshop.refused("mend", plan, "--sign", "other.key")
    manifest = workshop.folder / BUNDLE / "manifest.json"
    content = json.loads(manifest.read_bytes())
    content.pop("signature")
    manifest.write_bytes(text_of(content))
    assert "is not signed" in workshop.refused("verify", BUNDLE, "--signed-by", public)
    assert "it holds" in workshop.done("verify", BUNDLE)
