import hashlib
import itertools
import random
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.seeds import chip_seed, shuffled


@given(st.integers(-(2**70), 2**70), st.text(), st.text())
def test_a_seed_has_63_bits_so_that_torch_and_numpy_take_it(seed, chip, purpose):
    assert 0 <= chip_seed(seed, chip, purpose) < 2**63


def test_a_seed_is_the_digest_that_its_definition_says():
    digest = hashlib.blake2b(b"3/die 7/retrain", digest_size=8).hexdigest()
    assert chip_seed(3, "die 7", "retrain") == int(digest, 16) // 2


def test_seeds_do_not_depend_on_the_order_in_which_they_are_asked_for():
    asked = list(itertools.product(range(3), ["a", "b"], ["retrain", "calibration"]))
    straight = {key: chip_seed(*key) for key in asked}
    random.Random(0).shuffle(asked)
    assert {key: chip_seed(*key) for key in asked} == straight
    assert len(set(straight.values())) == len(asked)


def test_seeds_and_orders_are_the_same_in_a_process_with_other_hashes():
    code = (
        "from chipmend.seeds import chip_seed, shuffled;"
        "print(chip_seed(1, 'a', 'x'), shuffled(9, 1, 'y'))"
    )
    for hashes in ("0", "1"):
        said = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, timeout=60, env={"PYTHONHASHSEED": hashes},
        ).stdout  # fmt: skip
        assert said.strip() == f"{chip_seed(1, 'a', 'x')} {shuffled(9, 1, 'y')}"


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 99), st.text(max_size=5))
def test_a_shuffle_holds_every_index_once(count, seed, purpose):
    assert sorted(shuffled(count, seed, purpose)) == list(range(count))


def test_shuffles_differ_by_seed_and_by_purpose():
    orders = [shuffled(50, seed, purpose) for seed in (0, 1) for purpose in ("a", "b")]
    assert all(one != other for one, other in itertools.combinations(orders, 2))
    assert list(range(50)) not in orders


def test_a_larger_count_keeps_the_order_of_the_smaller():
    small, large = shuffled(40, 0, "x"), shuffled(100, 0, "x")
    assert [index for index in large if index < 40] == small


def test_every_index_comes_first_about_equally_often():
    first = [shuffled(4, seed, "fair")[0] for seed in range(4000)]
    counts = [first.count(index) for index in range(4)]
    # binomial(4000, 1/4): mean 1000, deviation sqrt(750) = 27.4; five of them
    assert all(abs(count - 1000) < 137 for count in counts)
