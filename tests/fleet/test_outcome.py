import json

import pytest

from campaigns import POLICIES, RETRAIN, chips, mended
from chipmend.errors import StoreError
from chipmend.fleet import read_outcome
from chipmend.fleet.outcome import FILE
from chipmend.policy import FixedSteps, Reduce

SUMMARY = {"clean_accuracy", "constraint", "report", "policies"}
POLICY = {"chips", "met", "scrapped", "bins", "accuracy_mean", "accuracy_min"}
POLICY |= {"ee_per_chip", "ee_analysis", "ee_overspent", "seconds"}
"""What machines are promised."""
MORE, MORE_OF_POLICY = (
    {"ee_hardening", "ee_lost", "promises", "since", "tester_seconds"},
    {
        "shipped",
        "ee_shared",
        "seconds_shared",
        "seconds_analysis",
        "ee_overspent_per_chip_met",
        "yield_over_accuracy",
        "yield_over_ee",
    },
)


@pytest.fixture(scope="module")
def outcome(task, tmp_path_factory):
    return mended(task, run=tmp_path_factory.mktemp("run"))


def test_what_is_written_is_read_back_equal(outcome, tmp_path):
    assert outcome.write(tmp_path) == tmp_path / FILE
    assert read_outcome(tmp_path) == outcome


def test_a_finished_run_has_its_outcome_in_its_folder(task, tmp_path):
    made = mended(task, run=tmp_path, policies=[FixedSteps()])
    assert read_outcome(tmp_path) == made


def test_the_summary_has_what_machines_are_promised(outcome):
    summary = outcome.summary("r.html")
    assert summary.keys() == SUMMARY | MORE
    assert list(summary["policies"]) == [policy.name for policy in POLICIES]
    assert summary["report"] == "r.html"
    assert summary["constraint"] == {"drop": 0.1}
    for found in summary["policies"].values():
        assert found.keys() == POLICY | MORE_OF_POLICY
        assert found["chips"] == len(chips()) == sum(found["bins"].values())
        assert found["met"] <= found["shipped"] == found["chips"] - found["scrapped"]
        assert 0 <= found["accuracy_min"] <= found["accuracy_mean"] <= 1


def test_the_analysis_is_billed_to_who_needs_it_alone(outcome):
    billed = {n: s["ee_analysis"] for n, s in outcome.summary()["policies"].items()}
    assert billed["Reduce-max"] == billed["Reduce-mean"] == outcome.table.ee
    assert sum(billed.values()) == pytest.approx(2 * outcome.table.ee)


def test_sums_are_over_the_records_of_each_policy(outcome):
    for sums in outcome.sums():
        records = [r for r in outcome.records if r.policy == sums.policy]
        assert sums.chips == len(records)
        assert sums.ee == pytest.approx(sum(r.cost.ee for r in records))
        assert sums.met == sum(r.met for r in records)


@pytest.mark.parametrize("policies", [POLICIES, [Reduce(statistic="max", retrain=RETRAIN)]])
def test_nothing_that_json_does_not_know_is_written(task, policies, tmp_path):
    def refuse(name):
        raise AssertionError(name)

    made = mended(task, run=tmp_path, policies=policies)
    text = (tmp_path / FILE).read_text()
    json.loads(text, parse_constant=refuse)
    json.loads(json.dumps(made.summary(), allow_nan=False), parse_constant=refuse)


def test_a_lot_without_any_shipped_chip_sums_up_to_nulls(task):
    from chipmend.faults import Chip, FaultMap

    dead = FaultMap(rows=8, cols=8, faulty_pes=chips()[0].faults.faulty_pes, fatal="no clock")
    made = mended(task, run=None, lot=[Chip("x", dead)], policies=[FixedSteps()])
    found = made.summary()["policies"]["FAP"]
    assert (found["accuracy_mean"], found["accuracy_min"], found["ee_overspent"]) == (None,) * 3
    assert found["bins"] == {"unrepairable": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"array": {"rows": 0, "cols": 8}}',
    ],
)
def test_a_damaged_outcome_is_our_error_that_names_the_file(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StoreError, match=r"outcome\.json is not the outcome of a run"):
        read_outcome(tmp_path)


def test_an_outcome_with_one_field_altered_is_refused(outcome, tmp_path):
    outcome.write(tmp_path)
    content = json.loads((tmp_path / FILE).read_text())
    content["records"][0]["bin"] = "lost"
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(StoreError, match="not the outcome"):
        read_outcome(tmp_path)


def test_a_half_written_outcome_is_refused(outcome, tmp_path):
    outcome.write(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="not the outcome"):
        read_outcome(tmp_path)


def test_a_folder_without_a_run_is_told_what_to_do(tmp_path):
    with pytest.raises(StoreError, match="no finished run") as error:
        read_outcome(tmp_path)
    assert "chipmend mend" in error.value.hint


def test_a_file_instead_of_a_folder_is_our_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        read_outcome(tmp_path / "file")
