import numpy as np
import pytest
import torch

from campaigns import ARRAY, chips
from chipmend.faults import Margin
from chipmend.network import scores
from chipmend.network.samples import ChosenSamples
from chipmend.repairs import looking
from chipmend.repairs.looking import Looking
from chipmend.repairs.prune import prune_, pruned_weights

MARGIN = Margin(hidden=0.3)
FAULTS = chips()[2].faults


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(looking, "LOOK_BATCH", 40)


def looking_at(task, margin=None):
    return Looking(task, FAULTS, chip="c", seed=0, margin=margin)


def pruned_for(task, faults):
    network = task.fresh_network()
    prune_(network, pruned_weights(task.model, faults.unusable, ARRAY))
    return network


def test_a_share_is_rounded_up_to_whole_batches_and_never_beyond_the_split(task):
    found, whole = looking_at(task), len(task.validation)
    assert found.images(1.0) == found.samples(1.0) == whole
    for share in (0.05, 0.3, 0.6):
        assert found.samples(share) <= found.images(share) <= whole
        assert found.images(share) % 40 == 0 or found.images(share) == whole


def test_looking_on_sees_what_one_longer_look_sees(task):
    found = looking_at(task, MARGIN)

    def on(faults):
        return pruned_for(task, faults)

    once = found.scores(on, 0, 120)
    parts = [found.scores(on, 0, 40), found.scores(on, 40, 120)]
    assert (np.concatenate(parts) == once).all()


@pytest.mark.parametrize("margin", [None, MARGIN])
def test_each_batch_meets_a_draw_of_its_own_under_a_margin_and_the_map_without(task, margin):
    met = []

    def on(faults):
        met.append(faults)
        return pruned_for(task, faults)

    seen = looking_at(task, margin).scores(on, 0, 120)
    if margin is None:
        assert met == [FAULTS]
        return
    draws = [margin.behind(FAULTS, seed=0, chip="c", draw=draw) for draw in range(3)]
    assert met == draws
    order = torch.from_numpy(task.look_order(0))
    for draw, (behind, part) in enumerate(zip(draws, order[:120].split(40), strict=True)):
        samples = ChosenSamples(task.validation, part)
        by_hand = scores(pruned_for(task, behind), samples, task.metric)
        assert (by_hand == seen[40 * draw : 40 * draw + 40]).all()
