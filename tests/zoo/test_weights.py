import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from chipmend.errors import NetworkError, StoreError
from chipmend.zoo import NETWORKS, read_weights_, trained, vgg11, write_weights
from chipmend.zoo.weights import WEIGHTS
from conftest import same, state

SHIPPED = sorted(WEIGHTS.glob("*.safetensors"))


def network(outputs=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, outputs)
    )


def test_what_was_written_is_read_as_half_precision_rounds_it(tmp_path):
    model = network()
    model[1].num_batches_tracked.fill_(70001)
    expected = {
        name: value.half().float() if value.is_floating_point() else value
        for name, value in state(model).items()
    }
    assert not same(state(model), expected)
    path = write_weights(model, tmp_path / "x.safetensors")
    assert same(state(model), expected), "the network is rounded to what was written"
    other = network(seed=1)
    assert read_weights_(other, path) == path
    assert same(state(other), expected)
    assert all(p.dtype == torch.float32 for p in other.parameters())


def test_rounding_twice_is_rounding_once(tmp_path):
    model = network()
    first = write_weights(model, tmp_path / "first").read_bytes()
    rounded = state(model)
    second = write_weights(model, tmp_path / "second").read_bytes()
    assert first == second
    assert same(state(model), rounded)


def test_floats_are_halved_on_disk_and_counts_are_not(tmp_path):
    stored = load_file(write_weights(network(), tmp_path / "x"))
    kinds = {name: value.dtype for name, value in stored.items()}
    assert kinds.pop("1.num_batches_tracked") == torch.int64
    assert set(kinds.values()) == {torch.float16}


def test_a_network_in_another_memory_format_comes_back_the_same(tmp_path):
    model = network().to(memory_format=torch.channels_last)
    path = write_weights(model, tmp_path / "x")
    other = network(seed=1)
    read_weights_(other, path)
    assert same(state(other), state(model))


@pytest.mark.parametrize("value", [65520.0, -1e6, float("nan")])
def test_what_half_precision_cannot_hold_is_refused_by_name(tmp_path, value):
    model = network()
    model[1].running_var[0] = value
    before = state(model)
    with pytest.raises(NetworkError, match=r"65504.*: 1\.running_var\n"):
        write_weights(model, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []
    assert str(state(model)) == str(before)


def test_weights_that_do_not_fit_name_every_tensor_and_change_nothing(tmp_path):
    model = network()
    stored = state(model)
    stored["9.weight"] = torch.zeros(2)
    del stored["1.bias"], stored["1.num_batches_tracked"]
    stored["3.weight"] = torch.zeros(5, 16)
    stored["0.bias"] = torch.tensor(1.0)
    save_file(stored, tmp_path / "x")
    before = state(model)
    with pytest.raises(NetworkError) as caught:
        read_weights_(model, tmp_path / "x")
    for said in (
        "9.weight is not in the network",
        "1.bias is missing",
        "1.num_batches_tracked is missing",
        "3.weight is 5 x 16 where the network has 3 x 16",
        "0.bias is a number where the network has 4",
    ):
        assert said in caught.value.message
    assert caught.value.message.count(";") == 4
    assert same(state(model), before)


@pytest.mark.parametrize("content", [None, b"", b"no safetensors at all", b"\x80\x04pickle."])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / "x"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NetworkError, match=f"cannot read weights from {path}"):
        read_weights_(network(), path)


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_the_network(tmp_path):
    (tmp_path / "file").touch()
    model = network()
    before = state(model)
    with pytest.raises(StoreError):
        write_weights(model, tmp_path / "file" / "x")
    assert same(state(model), before)


def test_shipped_weights_are_small_and_finite_and_of_half_precision():
    assert {path.stem for path in SHIPPED} == {f"{name}-fashion-mnist-0.25" for name in NETWORKS}
    assert sum(path.stat().st_size for path in SHIPPED) <= 10_000_000
    for path in SHIPPED:
        for value in load_file(path).values():
            assert torch.isfinite(value.float()).all()
            assert value.dtype in (torch.float16, torch.int64)


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_weights_load_into_their_network(name):
    model = trained(name)
    (stored,) = (load_file(p) for p in SHIPPED if p.stem == f"{name}-fashion-mnist-0.25")
    assert same({name: value.float() for name, value in stored.items()},
                {name: value.float() for name, value in model.state_dict().items()})  # fmt: skip
    assert same(state(trained(name)), state(model))


def test_shipped_weights_of_another_width_name_the_misfits():
    (path,) = (path for path in SHIPPED if path.stem.startswith("vgg11"))
    with pytest.raises(NetworkError, match=r"0\.weight is 16 x 1 x 3 x 3 where the network has 8"):
        read_weights_(vgg11(channels=1, width=0.125), path)


@pytest.mark.parametrize("wanted", [{"data": "cifar-10"}, {"width": 0.5}])
def test_weights_that_are_not_shipped_are_refused_with_those_that_are(wanted):
    with pytest.raises(NetworkError, match="there are no trained weights of vgg11") as caught:
        trained("vgg11", **wanted)
    assert "vgg11-fashion-mnist-0.25" in caught.value.hint


def test_a_network_that_is_not_in_the_zoo_is_refused_with_those_that_are():
    with pytest.raises(NetworkError, match="there is no network 'vgg12'") as caught:
        trained("vgg12")
    assert "alexnet or mobilenet_v2 or resnet18" in caught.value.hint
