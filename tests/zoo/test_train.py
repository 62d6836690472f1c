import itertools
import math
from argparse import Namespace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import register_optimizer_step_pre_hook

from chipmend.data import DATA_SETS, Splits
from chipmend.errors import DataError
from chipmend.network import TensorSamples, accuracy, scores
from chipmend.zoo import read_weights_, vgg11
from chipmend.zoo.train import BATCH, PEAK_RATE, WARM_UP_STEPS, _made, main, train


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def split(count=3 * BATCH + 5, shape=(4,), seed=0):
    inputs = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
    return TensorSamples(inputs, inputs.flatten(1)[:, :3].argmax(1))


class Recorded:
    def __init__(self):
        self.samples, self.asked = split(), []

    def __len__(self):
        return len(self.samples)

    def batch(self, indices):
        self.asked.append(indices.tolist())
        return self.samples.batch(indices)


def test_training_lowers_the_loss_from_epoch_to_epoch(monkeypatch):
    monkeypatch.setattr("chipmend.zoo.train.WARM_UP_STEPS", 10)
    losses = list(train(network(), split(), epochs=20, seed=0))
    assert len(losses) == 20
    assert losses[0] == pytest.approx(math.log(3), abs=0.5)
    assert losses[-1] < 0.6 * losses[0]


def test_the_first_loss_is_that_of_the_untouched_network():
    seen = []

    def step(optimizer, *_):
        seen.append([p.detach().clone() for p in optimizer.param_groups[0]["params"]])

    samples, model = Recorded(), network()
    hook = register_optimizer_step_pre_hook(step)
    try:
        (found,) = train(model, samples, epochs=1, seed=0)
    finally:
        hook.remove()
    twin, losses = network().train(), []
    for batch, weights in zip(samples.asked, seen, strict=True):
        with torch.no_grad():
            for parameter, value in zip(twin.parameters(), weights, strict=True):
                parameter.copy_(value)
            inputs, targets = samples.samples.batch(torch.tensor(batch))
            losses.append(float(cross_entropy(twin(inputs), targets)))
    assert found == pytest.approx(sum(losses) / 3)


def test_the_same_seed_gives_the_same_network_and_another_another():
    trained = []
    for seed in (0, 0, 1):
        model = network()
        list(train(model, split(), epochs=2, seed=seed))
        trained.append(model[0].weight)
    assert trained[0].equal(trained[1])
    assert not trained[0].equal(trained[2])


def test_an_epoch_is_whole_batches_of_distinct_samples_in_a_new_order():
    samples = Recorded()
    list(train(network(), samples, epochs=2, seed=0))
    assert [len(batch) for batch in samples.asked] == [BATCH] * 6
    epochs = [list(itertools.chain(*samples.asked[at : at + 3])) for at in (0, 3)]
    assert all(len(set(epoch)) == 3 * BATCH for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_the_rate_warms_up_and_then_falls_along_a_cosine_to_almost_zero(monkeypatch):
    monkeypatch.setattr("chipmend.zoo.train.WARM_UP_STEPS", 10)
    rates = []
    hook = register_optimizer_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    try:
        list(train(network(), split(), epochs=20, seed=0))
    finally:
        hook.remove()
    expected = [
        PEAK_RATE * min(1, (step + 1) / 10) * (1 + math.cos(math.pi * step / 60)) / 2
        for step in range(60)
    ]
    assert rates == pytest.approx(expected)
    assert rates.index(max(rates)) < 10
    assert rates[-1] < PEAK_RATE / 1000
    assert WARM_UP_STEPS > 0


def test_the_program_writes_weights_that_score_as_it_says(tmp_path, monkeypatch, capsys):
    splits = Splits(*(split(BATCH, (3, 32, 32), seed) for seed in range(3)))
    asked = []
    monkeypatch.setitem(DATA_SETS, "cifar-10", lambda path: asked.append(path) or splits)
    monkeypatch.setattr("chipmend.zoo.train.keep_freed_memory", lambda: True)
    path = tmp_path / "x.safetensors"
    main(["vgg11", "--data=cifar-10", "--path=here", "--width=0.05", "--epochs=2", f"--out={path}"])
    said = capsys.readouterr().out.splitlines()
    assert asked == ["here"]
    assert [line.split(":")[0] for line in said[:2]] == ["epoch 1", "epoch 2"]
    model = vgg11(channels=3, width=0.05)
    read_weights_(model, path)
    assert said[4] == str(path)
    for line, samples in zip(said[2:4], (splits.validation, splits.test), strict=True):
        assert line.endswith(f"{scores(model, samples, accuracy).mean():.4f}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epochs=0"], "'0': give a whole number, 1 or more"),
        (["--epochs=1.5"], "'1.5': give a whole number, 1 or more"),
        (["--data=cifar-10"], "error: "),
        (["--width=0.001"], "error: width 0.001 leaves a layer of 64 without channels"),
    ],
)
def test_what_cannot_be_trained_is_told_in_words(words, said, capsys, monkeypatch):
    splits = Splits(*(split(BATCH, (1, 32, 32), seed) for seed in range(3)))
    monkeypatch.setitem(DATA_SETS, "fashion-mnist", lambda _: splits)
    with pytest.raises(SystemExit) as ended:
        main(["vgg11", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_outputs_are_as_many_as_classes_and_the_form_is_that_for_the_pictures(
    tmp_path, monkeypatch, capsys
):
    many = [
        TensorSamples(s.inputs, torch.arange(len(s)) % 100)
        for s in (split(BATCH, (3, 32, 32), seed) for seed in range(3))
    ]
    monkeypatch.setitem(DATA_SETS, "cifar-100", lambda _: Splits(*many))
    monkeypatch.setattr("chipmend.zoo.train.keep_freed_memory", lambda: True)
    path = tmp_path / "x.safetensors"
    main(["vgg11", "--data=cifar-100", "--width=0.05", "--epochs=1", f"--out={path}"])
    read_weights_(vgg11(classes=100, width=0.05), path)


def test_the_form_for_large_pictures_is_made_for_them():
    large = TensorSamples(torch.zeros(BATCH, 3, 224, 224), torch.zeros(BATCH, dtype=torch.long))
    made = _made(Namespace(network="resnet18", width=0.05), large)
    assert made.conv1.stride == (2, 2)


@pytest.mark.parametrize(("count", "side", "said"), [(BATCH, 20, "20 pixels"), (9, 32, "9 train")])
def test_pictures_that_no_network_is_for_are_refused(count, side, said):
    given = TensorSamples(torch.zeros(count, 3, side, side), torch.zeros(count, dtype=torch.long))
    with pytest.raises(DataError, match=said):
        _made(Namespace(network="resnet18", width=0.05), given)
