import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from chipmend.repairs.fault_classes import batches, fault_classes


def spoiled(seed, outputs, k, patterns):
    generator = torch.Generator().manual_seed(seed)
    some = torch.rand(patterns, k, generator=generator) < 0.4
    return some[torch.randint(patterns, (outputs,), generator=generator)]


@given(seed=st.integers(0, 99), blocks=st.integers(1, 3), k=st.integers(1, 20))
def test_every_spoiled_output_is_in_the_class_of_its_faults_and_block(seed, blocks, k):
    faulty = spoiled(seed, 4 * blocks, k, 3)
    by_hand = {}
    for output, row in enumerate(faulty.tolist()):
        if any(row):
            by_hand.setdefault((output // 4, tuple(np.flatnonzero(row))), []).append(output)
    found = fault_classes(faulty, blocks)
    assert {(c.block, tuple(c.faulty)): c.outputs.tolist() for c in found} == by_hand


@given(seed=st.integers(0, 99), largest=st.sampled_from([1, 50, 10_000]))
def test_every_class_is_in_one_batch_with_padding_behind(seed, largest):
    faulty = spoiled(seed, 12, 15, 6)
    classes = fault_classes(faulty, 1)
    solved = [each.faulty for each in classes]
    seen = []
    for batch in batches(classes, solved, k=15, largest=largest):
        assert len(batch.block) == 1 or batch.inputs.numel() * batch.inputs.shape[1] <= largest
        for outputs, inputs in zip(batch.outputs, batch.inputs, strict=True):
            size = int((inputs < 15).sum())
            assert (inputs[size:] == 15).all()
            seen.append((outputs.tolist(), inputs[:size].tolist()))
    assert sorted(seen) == sorted((c.outputs.tolist(), c.faulty.tolist()) for c in classes)
