import pytest

from chipmend.fleet import read_outcome


def test_a_plan_is_carried_out_from_end_to_end(workshop):
    shown = workshop.done("mend", workshop.plan(), "--json", "s.json")
    summary, outcome = workshop.summary(), read_outcome(workshop.folder / "run")
    assert summary == outcome.summary(str(workshop.folder / "run" / "report.html"))
    assert summary["policies"]["Fixed(1)"]["chips"] == 3
    assert summary["policies"]["Fixed(1)"]["ee_per_chip"] == pytest.approx(1 + 64 / 384)
    assert "<html" in (workshop.folder / "run" / "report.html").read_text()
    assert shown.splitlines()[-1] == summary["report"]


def test_the_same_command_again_does_no_job_again(workshop, monkeypatch):
    plan = workshop.plan(policy={"kind": "reduce"})
    workshop.done("mend", plan, "--json", "first.json")
    monkeypatch.setattr("chipmend.fleet.mending.Mending.__call__", None)
    monkeypatch.setattr("chipmend.fleet.analyzing.Analyzing.__call__", None)
    workshop.done("mend", plan, "--json", "second.json")
    assert workshop.summary("second.json") == workshop.summary("first.json")


def test_two_workers_give_the_same_accuracies(workshop):
    plan = workshop.plan()
    workshop.done("mend", plan, "--json", "one.json")
    workers = {"run": "other", "workers": 2, "threads": 1}
    plan = workshop.plan("two.toml", execution=workers)
    assert workshop.process("mend", plan, "--json", "two.json").returncode == 0
    one, two = workshop.summary("one.json"), workshop.summary("two.json")
    for summary in (one, two):
        summary.pop("report")
        summary["policies"]["Fixed(1)"].pop("seconds")
    assert one == two


def test_chips_from_a_lot_file_beside_the_plan_are_mended(workshop):
    workshop.done("chips", "make", "--array", "4x4", "--rate", "0.3", "-o", "lot.npz")
    workshop.done("mend", workshop.plan(chips={"file": "lot.npz"}))
    assert [r.chip for r in read_outcome(workshop.folder / "run").records] == ["chip-0001"]


def test_a_policy_of_the_user_s_own_is_run(workshop):
    own = {"factory": "shelf:Own", "options": {"epochs": 0.5}}
    workshop.done("mend", workshop.plan(policy=own), "--json", "s.json")
    assert list(workshop.summary()["policies"]) == ["Fixed(0.5)"]


def test_a_policy_that_raises_is_in_the_records_and_the_run_goes_on(workshop):
    policy = {"factory": "shelf:Raising", "options": {"epochs": 0.5}}
    code, shown, error = workshop("mend", workshop.plan(policy=policy), "--json", "s.json")
    assert code == 2
    assert "failed: the policy raised KeyError: 'oh' (3 of 3 records)" in shown
    assert "nothing could be done for any chip" in error
    assert workshop.summary()["policies"]["Fixed(0.5)"]["bins"] == {"failed": 3}
    reasons = {r.reason for r in read_outcome(workshop.folder / "run").records}
    assert reasons == {"the policy raised KeyError: 'oh'"}


def test_a_plan_of_several_policies_is_for_compare(workshop):
    policies = [{"kind": "steps"}, {"kind": "fixed", "epochs": 0.5}]
    error = workshop.refused("mend", workshop.plan(policy=None, policies=policies))
    assert "2 policies" in error
    assert "chipmend compare" in error
    assert not (workshop.folder / "run").exists()


def test_a_lot_is_mended_again_from_an_earlier_run(workshop):
    policy = {"kind": "cascade", "most": 0.5, "rungs": [[{"kind": "prune"}]]}
    chips = {"file": "lot.npz"}
    workshop.done(
        "chips", "make", "--array", "4x4", "--rate", "0.1", "--count", "3", "-o", "lot.npz"
    )
    given = {"policy": policy, "chips": chips, "constraint": {"drop": 0.3}}
    workshop.done("mend", workshop.plan(**given))
    later = workshop.plan("later.toml", **given, execution={"run": "later", "workers": 1})
    shown = workshop.done("mend", later, "--since", "run", "--json", "s.json")
    assert "Of 3 chips that run had shipped 3 are kept, 0 patched, 0 trained on, " in shown
    assert workshop.summary()["policies"]["Cascade"]["bins"] == {"kept": 3}
    assert "are kept" in (workshop.folder / "later" / "report.html").read_text()


@pytest.mark.parametrize(
    ("since", "said"), [("rum", "no finished run in rum"), ("run", "the very run")]
)
def test_a_run_that_cannot_be_gone_on_from_is_refused(workshop, since, said):
    workshop.done("mend", workshop.plan())
    assert said in workshop.refused("mend", workshop.plan(), "--since", since)
