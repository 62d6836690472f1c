"""A whole search for protection of a small network."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from chipmend.errors import ArrayError, ConstraintError, FingerprintError, RtlError
from chipmend.fleet import design as module
from chipmend.fleet import designing, preparing
from chipmend.fleet.design import design
from chipmend.fleet.progress import Unwatched
from chipmend.fleet.store.sqlite import FILE as SQLITE
from chipmend.hardware import Accumulators, Array, WeightMemory
from chipmend.network import Task
from chipmend.protect.baselines import KINDS
from chipmend.protect.design import Quantization, Space, Targets
from chipmend.protect.search import Searching, best
from chipmend.protect.study import Study
from chipmend.records import plain, rebuilt
from chipmend.simulate import BitErrors
from protect import small

ERRORS = BitErrors(accumulator=2e-4)
SPACE = Space(
    ordinary_bits=(0, 12),
    important=(0.0, 0.1),
    important_bits=(22,),
    lanes=(4,),
    shifts=(0, 4),
    activation_range=(1.0, 0.7),
)
SEARCH = Searching(evaluations=5, method="sobol-greedy", estimating=64, injected=1)
TARGETS = Targets(drop_under_faults=0.05, drop_without_faults=0.05, slowdown=0.5)


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(0)
    model = small.Small().eval()
    splits = []
    for seed in range(3):
        inputs, _ = small.samples(512, seed)
        with torch.no_grad():
            splits.append((inputs, model(inputs).argmax(1)))
    return Task(model, train=splits[0], validation=splits[1], test=splits[2])


def designed(task, run, **given):
    wanted = {"errors": ERRORS, "targets": TARGETS, "space": SPACE, "searching": SEARCH, **given}
    return design(task, array=small.ARRAY, run=run, threads=1, **wanted)


@pytest.fixture(scope="module")
def outcome(task, tmp_path_factory):
    return designed(task, tmp_path_factory.mktemp("run"))


def test_the_smallest_design_that_meets_all_targets_is_found(outcome):
    (study,) = outcome.studies
    everything = [*study.searched, *(row.evaluation for row in study.rows[:-1])]
    assert study.meets
    assert study.found.evaluation == best(everything)
    assert len(study.searched) == 5
    bare, full = study.row("no protection"), study.row("full TMR")
    assert bare.evaluation.fall.drop > 0.05 > full.evaluation.fall.drop
    assert 0 < study.found.evaluation.costs.overhead <= full.evaluation.costs.overhead


def test_every_row_is_read_on_the_test_split_once(outcome):
    (study,) = outcome.studies
    for row in study.rows:
        assert row.test.samples == 512
        assert row.masked is not None
        assert (row.lost_on_test == 0) == (row.evaluation.design.quantization == Quantization())
    assert study.found.test.drop < 0.08


def test_uniform_bits_are_told_for_the_numbers_of_the_design_found_too(outcome):
    (study,) = outcome.studies
    how = study.found.evaluation.design.quantization
    alike = [row for row in study.rows if row.name == "uniform, array and numbers as found"]
    assert len(alike) == int(how != Quantization())
    for row in alike:
        assert row.evaluation.design.quantization == how
        assert row.evaluation.costs.overhead >= study.found.evaluation.costs.overhead


def test_weights_have_as_many_bits_as_the_memory(task, tmp_path):
    array = replace(small.ARRAY, memory=WeightMemory(bits=4))
    prepared = preparing.Prepared(
        task,
        array,
        replace(SPACE, shifts=(0, 2)),
        64,
        0,
        SimpleNamespace(progress=Unwatched()),
        tmp_path,
    )
    for variant in prepared.variants().values():
        numbers = [codes.numbers for codes in variant.subject.network.codes.values()]
        assert max(float(each.abs().max()) for each in numbers) == 7


def test_what_people_are_to_know_is_told(outcome):
    assert "brought to 8 bits" in outcome.notes[0]
    assert any("Sobol" in note for note in outcome.notes)
    assert [(how.shifts, how.activation_range) for how, _ in outcome.shifts] == [(4, 1), (4, 0.7)]
    assert all(len(shifts) == 4 for _, shifts in outcome.shifts)
    assert next(layer.layer for layer in outcome.maps) == "first.weight"
    assert len(outcome.maps[0].ordinary_injected) == 22


def test_studies_survive_being_stored(outcome):
    (study,) = outcome.studies
    assert rebuilt(Study, plain(study)) == study


def test_a_run_goes_on_where_it_was_interrupted(task, tmp_path, monkeypatch, outcome):
    count, call = [], designing.Evaluating.__call__

    def until_third(self, job, tick):
        count.append((job, len(self.evaluator.clean), self.evaluator.seed))  # on either split
        if len(count) == 3:
            raise KeyboardInterrupt
        return call(self, job, tick)

    monkeypatch.setattr(designing.Evaluating, "__call__", until_third)
    with pytest.raises(KeyboardInterrupt):
        designed(task, tmp_path)
    again = designed(task, tmp_path)
    assert len(count) == len(set(count)) + 1  # the one that was interrupted
    assert plain(again.studies) == plain(outcome.studies)
    monkeypatch.setattr(preparing, "vulnerabilities", lambda *_, **__: pytest.fail("again"))
    more = designed(task, tmp_path, searching=replace(SEARCH, evaluations=6))
    assert more.studies[0].searched[:5] == again.studies[0].searched


def test_another_plan_in_the_same_folder_is_refused(task, tmp_path):
    designed(task, tmp_path, searching=replace(SEARCH, evaluations=1, by_chance=False))
    with pytest.raises(FingerprintError, match="targets changed"):
        designed(task, tmp_path, targets=replace(TARGETS, slowdown=0.4))


def test_workers_evaluate_side_by_side(task, tmp_path, outcome):
    few = replace(SEARCH, evaluations=2, by_chance=False)
    found = designed(task, tmp_path, workers=2, searching=few)
    usual = {row.name: row.evaluation for row in outcome.studies[0].rows}
    for row in found.studies[0].rows:
        if row.name in ("no protection", "full TMR", "uniform top bits"):
            assert row.evaluation == usual[row.name]
    assert len(found.studies[0].searched) == 2


def test_every_rate_gets_a_design(task, tmp_path):
    rates = [BitErrors(accumulator=1e-4), BitErrors(accumulator=4e-4)]
    few = replace(SEARCH, evaluations=2, by_chance=False, injected=0)
    found = designed(task, tmp_path, errors=rates, searching=few)
    assert [study.errors for study in found.studies] == rates
    drops = [study.row("no protection").evaluation.fall.drop for study in found.studies]
    assert drops[0] < drops[1]


@pytest.mark.parametrize(
    ("targets", "space", "said"),
    [
        ({"drop_under_faults": 1e-6}, {}, "by the 512 samples .* if flips cost none of them"),
        (
            {"drop_without_faults": 0.0},
            {"shifts": (1,), "activation_range": (0.7,)},
            "no design can meet targets.drop_without",
        ),
        (
            {"slowdown": 0.0},
            {"important": (0.9,), "spread": ("layer",), "ordinary_bits": (0, 2)},
            "targets.slowdown: the",
        ),
        ({}, {"accumulator_bits": (16,)}, "no design has accumulators that hold"),
    ],
)
def test_where_nothing_can_meet_the_targets_it_is_said_what_binds(
    task, tmp_path, targets, space, said
):
    few = replace(SEARCH, evaluations=1, by_chance=False, injected=0)
    with pytest.raises(ConstraintError, match=said):
        designed(
            task,
            tmp_path,
            targets=replace(TARGETS, **targets),
            space=replace(SPACE, **space),
            searching=few,
        )


def test_a_rate_that_no_design_is_up_to_keeps_no_other_from_its_design(task, tmp_path):
    rates = [BitErrors(accumulator=1e-4), BitErrors(accumulator=0.1)]
    few = replace(SEARCH, evaluations=2, by_chance=False, injected=0)
    found = designed(task, tmp_path, errors=rates, searching=few)
    first, second = found.studies
    assert first.meets
    assert not second.meets
    with pytest.raises(ConstraintError) as caught:
        found.check_met()
    nearest = second.found.evaluation
    assert "accumulator 0.1: none of" in str(caught.value)
    assert f"binds: accuracy falls by {100 * nearest.fall.drop:.2f} points" in str(caught.value)
    assert "accumulator 0.0001" not in str(caught.value)
    assert second.found.test.drop > 0.05


def test_vulnerabilities_of_another_network_or_damaged_ones_are_not_used(
    task, tmp_path, monkeypatch
):
    few = replace(SEARCH, evaluations=1, by_chance=False, injected=0)
    first = designed(task, tmp_path, searching=few)
    (tmp_path / SQLITE).unlink()
    torch.manual_seed(1)
    other = Task(small.Small().eval(), train=task.train, validation=task.validation, test=task.test)
    estimated, estimate = [], preparing.vulnerabilities
    monkeypatch.setattr(
        preparing, "vulnerabilities", lambda *g, **m: estimated.append(1) or estimate(*g, **m)
    )
    designed(other, tmp_path, searching=few, targets=replace(TARGETS, drop_under_faults=0.9))
    assert len(estimated) == 4  # with shifts, and without, of two ranges
    (tmp_path / SQLITE).unlink()
    for path in tmp_path.glob("vulnerability*"):
        path.write_bytes(path.read_bytes()[:100])
    assert plain(designed(task, tmp_path, searching=few).studies) == plain(first.studies)
    assert len(estimated) == 8


def test_other_arrays_are_compared_with_that_of_the_plan(task, tmp_path):
    space = Space(
        sizes=((4, 3), (2, 2)),
        accumulator_bits=(20, 22),
        ordinary_bits=(0, 12),
        sign_extension=(False,),
        important=(0.0,),
        activation_range=(1.0,),
    )
    many = replace(SEARCH, evaluations=12, by_chance=False, injected=0)
    targets = replace(TARGETS, slowdown=1.0)
    found = designed(task, tmp_path, space=space, searching=many, targets=targets)
    (study,) = found.studies
    usual = [row for row in study.rows if row.name in KINDS]
    assert {r.evaluation.design.accumulator_bits for r in usual} == {22}
    bare, least = study.row("no protection").evaluation, study.found.evaluation
    small_ones = [e for e in study.searched if e.design.rows == 2]
    assert small_ones
    for each in small_ones:
        assert each.costs.overhead == pytest.approx(each.costs.area.total - bare.costs.area.total)
        assert each.costs.slowdown == pytest.approx(each.costs.cycles / bare.costs.cycles - 1)
        assert each.costs.slowdown > 0.2
    own = study.row("uniform, array and numbers as found").evaluation.design
    assert own.accumulator_bits == least.design.accumulator_bits
    assert (own.rows, own.cols) == (least.design.rows, least.design.cols)


def test_a_yosys_that_fails_ends_nothing(task, tmp_path, monkeypatch):
    def failing(*_):
        raise RtlError("Yosys failed: out of order", hint="repair it")

    monkeypatch.setattr(module, "found_yosys", lambda: True)
    monkeypatch.setattr(module, "synthesized", failing)
    few = replace(SEARCH, evaluations=1, by_chance=False, injected=0)
    found = designed(task, tmp_path, searching=few)
    assert found.synthesized == (None,)
    assert any("Yosys failed: out of order" in note for note in found.notes)


def test_sums_that_do_not_wrap_around_and_flips_of_nothing_are_refused(task):
    saturating = Array(rows=4, cols=3, accumulators=Accumulators(bits=22, overflow="saturate"))
    with pytest.raises(ArrayError, match="wrap around"):
        design(task, array=saturating, errors=ERRORS)
    with pytest.raises(ArrayError, match="nothing flips"):
        design(task, array=small.ARRAY, errors=BitErrors(weights=1e-6))


def test_without_botorch_and_yosys_it_is_said_what_takes_their_place(task, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "found_botorch", lambda: False)
    monkeypatch.setattr(module, "found_yosys", lambda: False)
    few = replace(SEARCH, method=None, evaluations=1, by_chance=False, injected=0)
    found = designed(task, tmp_path, searching=few)
    assert found.method == "sobol-greedy"
    assert found.synthesized == (None,)
    assert any("table that is shipped" in note for note in found.notes)
