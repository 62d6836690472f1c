import numpy as np
import pytest
import torch

from campaigns import ARRAY, chips
from chipmend.faults import Margin
from chipmend.faults.screening import WORSE
from chipmend.network import scores
from chipmend.network.samples import ChosenSamples
from chipmend.repairs import looking
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.looking import Looking
from chipmend.repairs.prune import prune_, pruned_weights

MARGIN = Margin(hidden=0.3, coverage=0.8)
FAULTS = chips()[2].faults


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(looking, "LOOK_BATCH", 40)


def looking_at(task, margin=None):
    return Looking(Calibration(task, 0), FAULTS, chip="c", seed=0, margin=margin)


def pruned_for(task, faults):
    network = task.fresh_network()
    prune_(network, pruned_weights(task.model, faults.unusable, ARRAY))
    return network.eval()


def test_a_share_is_rounded_up_to_whole_batches_and_never_beyond_the_split(task):
    found, whole = looking_at(task), len(task.validation)
    assert found.images(1.0) == found.samples(1.0) == whole
    for share in (0.05, 0.3, 0.6):
        assert found.samples(share) <= found.images(share) <= whole
        assert found.images(share) % 40 == 0 or found.images(share) == whole


def test_looking_on_sees_what_one_longer_look_sees_in_the_order_of_looks(task):
    found, network = looking_at(task, MARGIN), pruned_for(task, FAULTS)
    once = found.scores(network, 0, 120)
    parts = [found.scores(network, 0, 40), found.scores(network, 40, 120)]
    assert (np.concatenate(parts) == once).all()
    order = torch.from_numpy(task.look_order(0))[:120]
    assert (scores(network, ChosenSamples(task.validation, order), task.metric) == once).all()


def test_without_a_margin_a_network_is_looked_at_as_the_map_has_it(task):
    begun = looking_at(task).begin(lambda faults: pytest.fail("nothing is to be found out"))
    assert begun.broken is FAULTS
    assert begun.found.ee == begun.found.seconds == 0


def test_a_network_is_looked_at_with_the_fourth_worst_draw(task):
    """By hand: how far outputs of each draw are from those of the map alone."""
    known = Calibration(task, 0)
    begun = looking_at(task, MARGIN).begin(lambda faults: pruned_for(task, faults))
    inputs = known.inputs_at_once(looking.COMPARED)
    draws = [MARGIN.behind(FAULTS, seed=0, chip="c", draw=draw) for draw in range(MARGIN.draws)]
    with torch.no_grad():
        usual = pruned_for(task, FAULTS)(inputs).double()
        far = [float((pruned_for(task, d)(inputs).double() - usual).pow(2).sum()) for d in draws]
    at = draws.index(begun.broken)
    assert sum(other > far[at] for other in far) == WORSE - 1
    samples = (1 + MARGIN.draws) * len(inputs)
    assert begun.found.measure == pytest.approx(samples / len(task.train) / 3)


def test_draws_that_give_no_number_count_as_the_worst(task):
    def on(faults):
        network = pruned_for(task, faults)
        if faults is not FAULTS and faults.faulty_pes.sum() > FAULTS.faulty_pes.sum() + 4:
            with torch.no_grad():
                next(network.parameters()).fill_(torch.nan)
        return network

    begun = looking_at(task, MARGIN).begin(on)
    assert begun.broken.faulty_pes.sum() > FAULTS.faulty_pes.sum() + 4
