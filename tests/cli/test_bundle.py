import csv

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import chipmend as cm
from chipmend.fleet import read_outcome
from chipmend.hardware import read_back

MEMORY = 4_000
CODED = {
    "kind": "steps",
    "steps": [{"kind": "remap"}, {"kind": "prune"}, {"kind": "quantize", "samples": 64}],
}
CHIPS = {"rate": 0.2, "count": 2, "stuck": {"rate": 0.05}}
BUNDLE = "run/bundles/chip-0002"


@pytest.fixture
def mended(workshop):
    array = {"rows": 4, "cols": 4, "memory": {"words": MEMORY}}
    plan = workshop.plan(policy=CODED, chips=CHIPS, array=array)
    workshop.done("mend", plan, "--verify", "none")
    return workshop


def test_a_bundle_is_shown(mended):
    shown = mended.done("bundle", "show", BUNDLE, "--json", "s.json")
    record = read_outcome(mended.folder / "run").records[1]
    assert shown.startswith("chip chip-0002\n")
    assert f"recorded accuracy {100 * record.accuracy:.2f} %" in shown
    assert f"{record.bundle.bytes:,} bytes" in shown
    summary = mended.summary()
    assert summary["digest"] == record.bundle.digest
    assert [step["kind"] for step in summary["steps"]] == ["remap", "prune", "quantize"]


def test_the_files_of_a_bundle_are_those_of_its_network(mended):
    shown = mended.done("bundle", "apply", BUNDLE, "-o", "out", "--json", "s.json")
    assert shown.splitlines()[-1] == "out"
    array = cm.Array(rows=4, cols=4, memory=cm.WeightMemory(words=MEMORY))
    chip = cm.make_chips(array, rate=0.2, count=2, stuck=cm.StuckAt(rate=0.05))[1]
    with (mended.folder / "out" / "bypass.csv").open() as stream:
        bypassed = [(int(row["row"]), int(row["col"])) for row in csv.DictReader(stream)]
    assert bypassed == [tuple(at) for at in np.argwhere(chip.faults.unusable).tolist()]
    # every word reads what is stored in it, but where the PE is lost
    image = np.frombuffer((mended.folder / "out" / "memory.bin").read_bytes(), np.uint8)
    weights = load_file(mended.folder / "out" / "network.safetensors")
    size = sum(t.numel() for name, t in weights.items() if t.dim() > 1)
    assert len(image) == MEMORY
    assert not image[size:].any()
    read = read_back(image, *chip.faults.stuck.patterns())[:size]
    assert (read == image[:size]).mean() > 0.7
    assert not image[:size][read != image[:size]].any()
    assert (mended.folder / "out" / "network.onnx").stat().st_size > 1000
    assert {path.rsplit("/")[-1] for path in mended.summary()["files"]} == {
        "bypass.csv",
        "memory.bin",
        "network.onnx",
        "network.safetensors",
    }


def test_onnx_may_be_left_out(mended):
    mended.done("bundle", "apply", BUNDLE, "-o", "out", "--no-onnx")
    assert not (mended.folder / "out" / "network.onnx").exists()


def test_a_network_of_real_numbers_has_weights_alone(workshop):
    workshop.done("mend", workshop.plan(policy={"kind": "steps"}), "--verify", "none")
    workshop.done("bundle", "apply", "run/bundles/chip-0001", "-o", "out")
    names = sorted(path.name for path in (workshop.folder / "out").iterdir())
    assert names == ["bypass.csv", "network.safetensors"]
    weights = load_file(workshop.folder / "out" / "network.safetensors")
    assert any(bool((tensor == 0).any()) for tensor in weights.values())
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_a_memory_that_is_filled_several_times_has_no_image(workshop):
    array = {"rows": 4, "cols": 4, "memory": {"words": 30}}
    workshop.done("mend", workshop.plan(policy=CODED, chips=CHIPS, array=array), "--verify", "all")
    said = workshop.done("bundle", "apply", BUNDLE, "-o", "out")
    assert "network.onnx" in said
    assert "memory.bin" not in said
    assert not (workshop.folder / "out" / "memory.bin").exists()


@pytest.mark.parametrize(
    "asked",
    [
        ("bundle", "show", BUNDLE, "--json", f"{BUNDLE}/manifest.json"),
        ("verify", BUNDLE, "--json", f"{BUNDLE}/delta.safetensors"),
        ("bundle", "apply", BUNDLE, "-o", "o", "--json", "o/network.onnx"),
        ("bundle", "apply", BUNDLE, "-o", "o", "--json", f"{BUNDLE}/manifest.json"),
        ("report", "run", "-o", "run/plan.json"),
        ("report", "run", "-o", f"{BUNDLE}/manifest.json"),
    ],
)
def test_what_is_read_is_not_written_over(mended, asked):
    assert "would be written over" in mended.refused(*asked)
    assert "it holds" in mended.done("verify", BUNDLE)


def test_files_are_made_anew_where_they_lie_beside_the_bundle(mended):
    for _ in range(2):
        mended.done("bundle", "apply", BUNDLE, "-o", "run/bundles/made")


def test_a_key_is_not_written_over(workshop):
    workshop.done("bundle", "key", "-o", "my.key")
    before = (workshop.folder / "my.key").read_text()
    assert "is there already" in workshop.refused("bundle", "key", "-o", "my.key")
    assert (workshop.folder / "my.key").read_text() == before


def test_what_is_misspelt_is_an_error_of_ours(mended):
    assert "cannot read" in mended.refused("bundle", "show", "run/bundles/chip-9")
    assert "cannot read" in mended.refused("bundle", "apply", BUNDLE, "-o", "o", "--base", "no")
    mended.refused("bundle", "shw", BUNDLE)
    mended.refused("mend", "plan.toml", "--verify", "some")
