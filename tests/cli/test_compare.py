from chipmend.fleet import read_outcome

POLICIES = [
    {"kind": "steps"},
    {"kind": "fixed", "epochs": 0.5},
    {"kind": "until_met", "increment": 0.5, "most": 1.0},
    {"kind": "reduce"},
]


def test_all_policies_of_a_plan_mend_the_same_chips(workshop):
    plan = workshop.plan(policy=None, policies=POLICIES)
    shown = workshop.done("compare", plan, "--json", "s.json")
    names = ["FAP", "Fixed(0.5)", "UntilMet(0.5)", "Reduce-max"]
    assert list(workshop.summary()["policies"]) == names
    assert all(name in shown for name in names)
    outcome = read_outcome(workshop.folder / "run")
    assert [r.policy for r in outcome.records] == [name for name in names for _ in range(3)]
    assert outcome.table is not None


def test_one_policy_is_no_mistake(workshop):
    workshop.done("compare", workshop.plan(), "--json", "s.json")
    assert list(workshop.summary()["policies"]) == ["Fixed(1)"]


def test_compared_policies_have_the_accuracies_that_each_has_alone(workshop):
    workshop.done("compare", workshop.plan(policy=None, policies=POLICIES), "--json", "s.json")
    fixed = workshop.summary()["policies"]["Fixed(0.5)"]
    alone = workshop.plan("alone.toml", policy=POLICIES[1], execution={"run": "b", "workers": 1})
    workshop.done("mend", alone, "--json", "alone.json")
    again = workshop.summary("alone.json")["policies"]["Fixed(0.5)"]
    assert {**fixed, "seconds": 0} == {**again, "seconds": 0}
