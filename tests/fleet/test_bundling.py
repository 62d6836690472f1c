"""Campaigns whose chips get bundles, some of them verified, and what becomes of broken ones."""

import json
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from campaigns import ANALYSIS, ARRAY, CONSTRAINT, RETRAIN, records
from chipmend.bundle import Key, read_base, read_bundle
from chipmend.bundle.base import base_beside
from chipmend.errors import BundleError, MissingExtraError, PlanError
from chipmend.faults import Chip, FaultMap, MacsAt, StuckAt, StuckMacs, make_chips
from chipmend.fleet import bundling, mend, read_outcome
from chipmend.fleet.bundling import chosen, folder_name
from chipmend.fleet.ledger import Bin
from chipmend.hardware import Accumulators, WeightMemory
from chipmend.network import gemms, scores
from chipmend.policy import Cascade, FixedSteps, Group
from chipmend.simulate import on_chip
from chipmend.steps import FAQ, Compensate, Prune, Quantize, Remap
from conftest import tiny_task

CODED = FixedSteps(steps=(Prune(), Quantize(form=FAQ(), samples=64)), label="FAQ")
MIXED = FixedSteps(steps=(Remap(), Prune(), Quantize(form=FAQ(), samples=64)), label="Remapped FAQ")


@pytest.fixture(scope="module")
def array(task):
    words = sum(gemm.weight.numel() for gemm in gemms(task.model))
    memory = WeightMemory(words=words)
    return replace(ARRAY, memory=memory, accumulators=Accumulators(bits=24))


@pytest.fixture(scope="module")
def lot(array):
    made = make_chips(array, rate=0.1, count=5, stuck=StuckAt(rate=0.03))
    live = make_chips(array, rate=0.0, count=1, macs=MacsAt(count=1, bits=(18, 20)), seed=5)
    return [*made, Chip("a/b c", live[0].faults), Chip("dead", dead())]


def dead():
    return FaultMap.of_pes(np.zeros((8, 8), dtype=bool), fatal="no clock")


@pytest.fixture
def quickly(monkeypatch):
    """Bundles are run on the model of their chips alone, where other runtimes tell no more."""
    monkeypatch.setattr("chipmend.fleet.campaign.has_runtime", lambda: False)


def run_of(task, lot, array, run, **how):
    given = {"policies": [CODED], "constraint": CONSTRAINT, "workers": 1, "threads": 1, **how}
    return mend(task, lot, array=array, run=run, **given)


@pytest.fixture(scope="module")
def all_verified(task, lot, array, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return run_of(task, lot, array, run, verify="all"), run


def test_every_chip_that_ships_has_a_bundle_that_holds(all_verified, lot):
    outcome, run = all_verified
    by_chip = {record.chip: record for record in outcome.records}
    assert by_chip["dead"].bundle is None
    for chip in lot[:-1]:
        record = by_chip[chip.id]
        bundle = read_bundle(run / record.bundle.folder)
        assert bundle.chip.id == chip.id
        assert bundle.digest == record.bundle.digest
        assert (bundle.size.bytes, bundle.size.full) == (record.bundle.bytes, record.bundle.full)
        assert bundle.expected.accuracy == record.accuracy
        assert record.bundle.verified.holds
        assert record.bundle.verified.accuracy == record.accuracy
        base_beside(bundle.path, bundle.base).is_dir()
    assert read_outcome(run) == outcome


def test_the_bundle_is_what_the_chip_was_looked_at_with(all_verified, task, lot):
    """Built by hand from the bundle, on the chip's faults, it scores what was recorded."""
    outcome, run = all_verified
    record = next(r for r in outcome.records if r.chip == "a/b c")
    bundle = read_bundle(run / record.bundle.folder)
    base, digest = read_base(base_beside(bundle.path, bundle.base))
    repair = bundle.repair(base, digest)
    chip = next(chip for chip in lot if chip.id == "a/b c")
    network = on_chip(
        base.lowering, repair.tensors, repair.codes, array=base.array, faults=chip.faults
    )
    assert scores(network, task.test, task.metric).mean() == record.accuracy
    harmless = replace(chip.faults, macs=StuckMacs.of([]))
    sound = on_chip(base.lowering, repair.tensors, repair.codes, array=base.array, faults=harmless)
    assert scores(sound, task.test, task.metric).mean() != record.accuracy


@pytest.mark.usefixtures("quickly")
def test_a_sample_is_verified_by_default(task, lot, array, tmp_path):
    outcome = run_of(task, lot, array, tmp_path)
    verified = [r for r in outcome.records if r.bundle and r.bundle.verified]
    assert len(verified) == 3
    more = run_of(task, lot, array, tmp_path, verify="all")
    assert sum(bool(r.bundle and r.bundle.verified) for r in more.records) == 6
    none = run_of(task, lot, array, tmp_path, verify="none")
    assert not any(r.bundle and r.bundle.verified for r in none.records)


def test_any_number_of_workers_leaves_the_same_bundles(task, lot, array, tmp_path, all_verified):
    outcome, run = all_verified
    again = run_of(task, lot, array, tmp_path / "other", verify="all", workers=2)
    assert records(again)["records"] == records(outcome)["records"]
    for path in sorted((run / "bundles").rglob("*.*")):
        other = tmp_path / "other" / path.relative_to(run)
        assert other.read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("quickly")
def test_a_mapping_goes_into_the_bundle(task, lot, array, tmp_path):
    outcome = run_of(task, lot[:2], array, tmp_path, policies=[MIXED], verify="all")
    for record in outcome.records:
        assert record.bundle.verified.holds
        bundle = read_bundle(tmp_path / record.bundle.folder)
        base, digest = read_base(base_beside(bundle.path, bundle.base))
        assert bundle.repair(base, digest).positions


def test_networks_of_real_numbers_ship_and_are_verified_too(task, array, tmp_path):
    lot = make_chips(array, rate=0.2, count=2)
    outcome = run_of(task, lot, array, tmp_path, policies=[FixedSteps()], verify="all")
    for record in outcome.records:
        assert record.bundle.verified.holds
        assert record.bundle.verified.agreement is None
        assert not read_bundle(tmp_path / record.bundle.folder).in_codes


@pytest.mark.usefixtures("quickly")
def test_bundles_are_signed_if_a_key_is_given(task, lot, array, tmp_path):
    key = Key(bytes(range(32)))
    key.write(tmp_path / "key")
    outcome = run_of(task, lot[:1], array, tmp_path / "run", key=tmp_path / "key")
    bundle = read_bundle(tmp_path / "run" / outcome.records[0].bundle.folder)
    assert bundle.signer == key.public


def test_several_policies_or_no_folder_make_no_bundles(task, lot, array, tmp_path):
    for policies, run in (([CODED, MIXED], tmp_path / "run"), ([CODED], None)):
        outcome = run_of(task, lot[:1], array, run, policies=policies)
        assert all(record.bundle is None for record in outcome.records)
    assert not (tmp_path / "run" / "bundles").exists()


def test_a_bundle_that_does_not_hold_fails_its_chip(task, lot, array, tmp_path, monkeypatch):
    run_of(task, lot[:4], array, tmp_path, verify="none")
    folder = tmp_path / "bundles"
    shutil.rmtree(folder / "chip-0002")
    shutil.copytree(folder / "chip-0001", folder / "chip-0002")
    (folder / "chip-0003" / "delta.safetensors").write_bytes(b"")
    shutil.rmtree(folder / "chip-0004")
    outcome = run_of(task, lot[:4], array, tmp_path, verify="all")
    found = {record.chip: record for record in outcome.records}
    assert found["chip-0001"].bin != Bin.FAILED
    assert [found[f"chip-000{n}"].bin for n in (2, 3, 4)] == [Bin.FAILED] * 3
    assert "is for chip chip-0001, not for chip-0002" in found["chip-0002"].reason
    assert "should have" in found["chip-0003"].reason
    assert "cannot read" in found["chip-0004"].reason
    assert not any(found[f"chip-000{n}"].met for n in (2, 3, 4))
    assert all("in a new run folder" in found[f"chip-000{n}"].reason for n in (2, 3, 4))


@pytest.mark.usefixtures("quickly")
def test_what_was_verified_once_is_looked_at_again(task, lot, array, tmp_path):
    run_of(task, lot[:3], array, tmp_path, verify="all")
    folder = tmp_path / "bundles"
    path = folder / "chip-0002" / "delta.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    shutil.rmtree(folder / "chip-0003")
    for verify in ("all", "none"):
        outcome = run_of(task, lot[:3], array, tmp_path, verify=verify)
        found = {record.chip: record for record in outcome.records}
        assert found["chip-0001"].bin != Bin.FAILED
        assert "was altered" in found["chip-0002"].reason
        assert "cannot read" in found["chip-0003"].reason
    shutil.rmtree(next(folder.glob("base-*")))
    outcome = run_of(task, lot[:3], array, tmp_path)
    assert all("base-" in record.reason for record in outcome.records[:1])


@pytest.mark.usefixtures("quickly")
def test_bundles_that_are_there_unsigned_get_signed(task, lot, array, tmp_path):
    key = Key(bytes(range(32)))
    key.write(tmp_path / "key")
    before = run_of(task, lot[:2], array, tmp_path / "run", verify="none")
    after = run_of(task, lot[:2], array, tmp_path / "run", verify="all", key=tmp_path / "key")
    for record, again in zip(before.records, after.records, strict=True):
        bundle = read_bundle(tmp_path / "run" / record.bundle.folder, signed_by=key.public)
        assert bundle.digest == record.bundle.digest == again.bundle.digest
        assert again.bundle.verified.holds


def test_an_accuracy_that_is_another_on_the_chip_fails_the_chip(
    task, lot, array, tmp_path, monkeypatch
):
    monkeypatch.setattr("chipmend.bundle.verification.on_its_chip", unlike(task))
    outcome = run_of(task, lot[:1], array, tmp_path)
    (record,) = outcome.records
    assert record.bin == Bin.FAILED
    assert "its bundle does not hold: accuracy" in record.reason
    assert not record.bundle.verified.holds


def unlike(task):
    """A chip that does something else than was recorded."""

    def built(repair, base, chip):
        network = task.fresh_network()
        network[-1].weight.data.zero_()
        return network

    return built


@pytest.mark.usefixtures("quickly")
def test_what_cannot_be_bundled_fails_and_the_rest_goes_on(task, lot, array, tmp_path, monkeypatch):
    write = bundling.Bundling.write

    def picky(self, bench, recipe, chip, array, before):
        if chip.id == "chip-0002":
            raise BundleError("no room", hint="make some")
        return write(self, bench, recipe, chip, array, before)

    monkeypatch.setattr(bundling.Bundling, "write", picky)
    outcome = run_of(task, lot[:3], array, tmp_path)
    found = {record.chip: record for record in outcome.records}
    assert found["chip-0002"].bin == Bin.FAILED
    assert "no room" in found["chip-0002"].reason
    assert found["chip-0002"].bundle is None
    assert found["chip-0001"].bundle
    assert found["chip-0003"].bundle


def test_without_another_runtime_the_chip_alone_is_asked(task, lot, array, tmp_path, monkeypatch):
    def missing(module, *, extra):
        raise MissingExtraError(f"{module} is missing", hint=extra)

    monkeypatch.setattr(bundling, "imported", missing)
    outcome = run_of(task, lot[:1], array, tmp_path)
    assert outcome.records[0].bundle.verified.agreement is None
    assert outcome.records[0].bundle.verified.holds


@pytest.mark.parametrize(("bundled", "expected"), [(2, 2), (10, 3), (100, 5), (101, 6)])
def test_how_large_a_sample_is(bundled, expected, all_verified):
    record = next(r for r in all_verified[0].records if r.bundle)
    lot = [replace(record, chip=f"c{n}") for n in range(bundled)]
    assert len(chosen(lot, "sample", 0)) == expected
    assert len(chosen(lot, "all", 0)) == bundled
    assert chosen(lot, "none", 0) == []
    assert chosen(lot, "sample", 0) == chosen(lot, "sample", 0)


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"verify": "some"}, PlanError, "bundles to verify: 'some'"),
        ({"key": "no such key"}, BundleError, "cannot read the key"),
        ({"key": "no such key", "run": None}, PlanError, "no folder to write them to"),
    ],
)
def test_what_bundles_cannot_be_made_with_is_told_before_any_chip_is_mended(
    how, error, said, task, lot, array, tmp_path
):
    run = how.pop("run", tmp_path / "run")
    with pytest.raises(error, match=said):
        run_of(task, lot[:1], array, run, **how)
    assert not (tmp_path / "run").exists()


class Attending(nn.Module):
    """Rows of the picture as tokens."""

    def __init__(self):
        super().__init__()
        self.qkv, self.norm, self.last = nn.Linear(6, 24), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        q, k, v = self.qkv(x[:, 0]).chunk(3, -1)
        return self.last(self.norm(functional.scaled_dot_product_attention(q, k, v)).mean(1))


@pytest.mark.parametrize("coded", [False, True])
def test_networks_with_attention_ship_and_hold_on_their_chips(coded, tmp_path):
    torch.manual_seed(0)
    task = tiny_task(Attending())
    words = sum(gemm.weight.numel() for gemm in gemms(task.model))
    array = replace(ARRAY, memory=WeightMemory(words=words), accumulators=Accumulators(bits=24))
    lot = make_chips(array, rate=0.2, count=3, stuck=StuckAt(rate=0.03) if coded else None)
    steps = (Prune(), Quantize(form=FAQ(), samples=64)) if coded else (Prune(), Compensate())
    outcome = run_of(
        task, lot, array, tmp_path, policies=[FixedSteps(steps=steps, label="mine")], verify="all"
    )
    for record in outcome.records:
        assert record.bundle.verified.holds, record.reason
        agreement = record.bundle.verified.agreement
        assert agreement == 1.0 if coded else agreement is None


@dataclass(frozen=True)
class Together(FixedSteps):
    """All chips share a network."""

    def plan(self, dies, constraint, table):
        return [Group(chips=tuple(die.chip.id for die in dies), effective_rate=0.0)]


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("coded", [False, True])
def test_chips_that_share_a_network_with_attention_are_each_read_as_they_compute_it(
    coded, tmp_path
):
    """Products of activations lose what meets the PEs of the chip, and not those of its group."""
    torch.manual_seed(0)
    task = tiny_task(Attending())
    words = sum(gemm.weight.numel() for gemm in gemms(task.model))
    array = replace(ARRAY, memory=WeightMemory(words=words), accumulators=Accumulators(bits=24))
    steps = (Prune(), Quantize(form=FAQ(), samples=64)) if coded else (Prune(), Compensate())
    outcome = run_of(
        task,
        make_chips(array, rate=0.2, count=3),
        array,
        tmp_path,
        policies=[Together(steps=steps)],
        verify="all",
    )
    assert {record.shared_by for record in outcome.records} == {3}
    for record in outcome.records:
        assert record.bundle.verified, record.reason
        assert record.bundle.verified.holds, record.reason
        assert record.bundle.verified.accuracy == record.accuracy
    assert len({record.accuracy for record in outcome.records}) > 1


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("amounts", [(), (0.0, 0.2)])
def test_live_faults_alone_have_the_cascade_ship_codes(amounts, task, array, tmp_path):
    lot = make_chips(array, rate=0.05, count=3, macs=MacsAt(count=1, bits=(0, 3)))
    cascade = Cascade(retrain=RETRAIN, most=0.4, amounts=amounts)
    outcome = run_of(
        task, lot, array, tmp_path, policies=[cascade], analysis=ANALYSIS, verify="all"
    )
    shipped = [record for record in outcome.records if record.bundle]
    assert shipped
    for record in shipped:
        assert record.bundle.verified.holds, record.reason
        assert read_bundle(tmp_path / record.bundle.folder).in_codes


def test_folders_have_plain_names_of_their_own():
    names = ["W3-07", "a", "a/b", "../a", "base-1", "", ".", "..", "ä", "a b", "x" * 300, "x" * 301]
    found = [folder_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert found[:2] == ["W3-07", "a"]
    for name in found:
        assert "/" not in name
        assert not name.startswith((".", "base-"))
        assert len(name) <= 100


def test_what_is_in_a_run_folder_is_json_and_tensors(all_verified):
    _, run = all_verified
    for path in (run / "bundles").rglob("*"):
        if path.is_file():
            assert path.name in ("manifest.json", "delta.safetensors", "base.safetensors")
            if path.suffix == ".json":
                json.loads(path.read_bytes())
