from dataclasses import replace

import numpy as np
import pytest
from torch.nn.functional import cross_entropy

from chipmend.protect.maps import LayerMap, layer_maps
from chipmend.records import plain, rebuilt
from protect import small
from protect.design.examples import subject


def test_maps_are_means_of_the_layer_s_most_vulnerable_neurons_and_of_all_others():
    found = layer_maps(subject(), [], cross_entropy, neurons=0, each=4, seed=0)
    for known, layer in zip(found, subject().layers, strict=True):
        change = layer.change.reshape(-1, 22)
        count = max(1, round(0.05 * len(change)))
        order = np.argsort(-change.mean(1), kind="stable")
        assert np.allclose(known.important, change[order[:count]].mean(0))
        assert np.allclose(known.ordinary, change[order[count:]].mean(0))
        assert known.neurons == len(change)
        assert known.important_injected == ()


def test_injection_says_about_the_same():
    batches = [small.samples(64, 7)]
    found = layer_maps(subject(), batches, cross_entropy, neurons=8, each=22, seed=0)
    for known in found:
        estimated, measured = np.sum(known.ordinary), np.sum(known.ordinary_injected)
        assert 0.4 < measured / estimated < 2.5
        assert np.sum(known.important_injected) > measured


def test_of_a_layer_of_one_neuron_there_are_no_ordinary_ones():
    known, *_ = subject().layers
    lonely = replace(known, change=known.change[:1, :1])
    one = replace(subject(), layers=(lonely, *subject().layers[1:]))
    found = layer_maps(one, [], cross_entropy, neurons=0, each=4, seed=0)[0]
    assert found.ordinary == ()
    assert found.important == pytest.approx(lonely.change[0, 0])
    assert rebuilt(LayerMap, plain(found)) == found
