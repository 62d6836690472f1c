import contextlib
import errno
import gzip
import hashlib
import http.client
import io
import os
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch

from chipmend.data import debian
from chipmend.data import fashion_mnist as read
from chipmend.data.fashion_mnist import find_fashion_mnist
from chipmend.errors import ChipmendError, DataError

room = sys.modules["chipmend.data.fashion_mnist"]  # the function hides its module's name


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def small_set():
    """Files like the real ones: 7 training and 3 test pictures."""
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": idx(rng.integers(0, 256, (7, 28, 28))),
        "train-labels-idx1-ubyte": idx(np.arange(7) % 10),
        "t10k-images-idx3-ubyte": idx(rng.integers(0, 256, (3, 28, 28))),
        "t10k-labels-idx1-ubyte": idx(np.array([9, 8, 7])),
    }


FILES = small_set()


class Places:
    """All places that the data set may come from, none of which has it yet."""

    def __init__(self, folder, monkeypatch):
        self.debian, self.cache = folder / "debian", folder / "cache" / "fashion-mnist"
        self.asked, self.package, self.public = [], None, None
        monkeypatch.setenv("CHIPMEND_CACHE", str(folder / "cache"))
        monkeypatch.setattr(room, "DEBIAN_FOLDER", self.debian)
        monkeypatch.setattr(
            room, "DIGESTS", {n: hashlib.sha256(c).hexdigest() for n, c in FILES.items()}
        )
        monkeypatch.setattr(room, "VALIDATION_SAMPLES", 2)
        monkeypatch.setattr(debian.subprocess, "run", self._run)
        monkeypatch.setattr(urllib.request, "urlopen", self._open)

    def _run(self, command, *, cwd, **_):
        self.asked.append(command[0])
        if self.package is None:
            raise FileNotFoundError
        if command[0] == "apt-get":
            (cwd / "dataset-fashion-mnist_1_all.deb").touch()
        else:
            put(cwd / command[-1] / self.debian.relative_to("/"), self.package)

    def _open(self, url, **_):
        self.asked.append(url)
        if self.public is None:
            raise urllib.error.URLError("no route to host")
        content = self.public[url.removeprefix(room.PUBLIC_DOWNLOAD).removesuffix(".gz")]
        return contextlib.nullcontext(content if hasattr(content, "read") else io.BytesIO(content))


@pytest.fixture
def places(tmp_path, monkeypatch):
    return Places(tmp_path, monkeypatch)


def put(folder, files, suffix=".gz"):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}{suffix}").write_bytes(content)


def packed(files=FILES):
    return {name: gzip.compress(content) for name, content in files.items()}


def damaged(name="t10k-labels-idx1-ubyte"):
    """Sound files but one, in which a single bit is wrong."""
    content = bytearray(FILES[name])
    content[-1] ^= 1
    return {**FILES, name: bytes(content)}


def files_in(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


WHOLE = sorted(f"{name}.gz" for name in FILES)


def test_a_folder_of_one_s_own_is_read_plain_or_gzipped(tmp_path, places):
    put(tmp_path / "plain", FILES, suffix="")
    put(tmp_path / "gz", packed())
    for folder in (tmp_path / "plain", str(tmp_path / "gz")):
        splits = read(folder)
        assert [len(s) for s in (splits.train, splits.validation, splits.test)] == [5, 2, 3]
        assert splits.test.batch(torch.arange(3))[1].tolist() == [9, 8, 7]
    assert places.asked == []


def test_debian_s_folder_comes_first_and_then_the_cache_and_nothing_is_fetched(places):
    put(places.cache, packed())
    assert find_fashion_mnist() == places.cache
    put(places.debian, packed())
    assert find_fashion_mnist() == places.debian
    assert places.asked == []


def test_a_folder_that_lacks_a_file_is_passed_over(places):
    put(places.debian, {n: c for n, c in packed().items() if "labels" not in n})
    put(places.cache, FILES, suffix="")
    assert find_fashion_mnist() == places.cache


def test_then_debian_s_package_is_fetched_into_the_cache_once(places):
    places.package, places.public = packed(), packed()
    assert find_fashion_mnist() == places.cache
    assert places.asked == ["apt-get", "dpkg-deb"]
    assert files_in(places.cache) == WHOLE
    assert len(read().train) == 5
    assert find_fashion_mnist() == places.cache
    assert len(places.asked) == 2


def test_the_public_download_comes_last(places):
    places.public = packed()
    assert find_fashion_mnist() == places.cache
    assert places.asked == ["apt-get", *(f"{room.PUBLIC_DOWNLOAD}{n}.gz" for n in FILES)]
    assert files_in(places.cache) == WHOLE
    for name, content in FILES.items():
        assert gzip.decompress((places.cache / f"{name}.gz").read_bytes()) == content


def test_if_nothing_helps_the_error_says_what_every_place_answered(places):
    with pytest.raises(DataError, match=r"there is no apt-get.*; cannot download .*no route"):
        read()
    assert files_in(places.cache) == []


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_package_is_passed_over_and_a_damaged_download_is_an_error(places, name):
    places.package = packed(damaged(name))
    places.public = packed()
    assert find_fashion_mnist() == places.cache
    for file in places.cache.iterdir():
        file.unlink()
    places.public = packed(damaged(name))
    with pytest.raises(DataError, match=f"the fetched {name} is damaged.*; .*{name} is damaged"):
        find_fashion_mnist()
    assert files_in(places.cache) == []


class BreaksOff:
    def read(self):
        raise http.client.IncompleteRead(b"half")


class TimesOut:
    def read(self):
        raise TimeoutError("timed out")


def flipped():
    content = bytearray(gzip.compress(FILES["t10k-images-idx3-ubyte"]))
    content[10] = 0xFF  # a block type that does not exist
    return bytes(content)


@pytest.mark.parametrize(
    "answer",
    [
        BreaksOff(),
        TimesOut(),
        flipped(),
        gzip.compress(FILES["t10k-images-idx3-ubyte"])[:-20],
        b"<html>moved</html>",
        b"",
    ],
)
def test_a_download_that_breaks_off_or_is_something_else_leaves_nothing_in_the_cache(
    places, answer
):
    places.public = {**packed(), "t10k-images-idx3-ubyte": answer}
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte"):
        find_fashion_mnist()
    assert files_in(places.cache) == []


def test_a_package_without_the_files_is_passed_over(places):
    places.package, places.public = {}, packed()
    assert find_fashion_mnist() == places.cache


@pytest.mark.parametrize("good", [0, 1, 3])
def test_a_full_disk_leaves_only_whole_files_and_the_next_try_mends_it(places, monkeypatch, good):
    places.public = packed()
    real, written = os.fsync, []

    def full(handle):
        if len(written) == good:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(handle)
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ChipmendError, match="No space left"):
            find_fashion_mnist()
    left = files_in(places.cache)
    assert len(left) == good
    for name in left:
        content = gzip.decompress((places.cache / name).read_bytes())
        assert content == FILES[name.removesuffix(".gz")]
    assert find_fashion_mnist() == places.cache
    assert files_in(places.cache) == WHOLE


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_that_is_found_is_named_and_not_used(tmp_path, places, name):
    put(tmp_path / "own", damaged(name), suffix="")
    with pytest.raises(DataError, match=f"own/{name} is damaged") as caught:
        read(tmp_path / "own")
    assert "delete" in caught.value.hint


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path, places, name):
    put(tmp_path / "own", {n: c for n, c in packed().items() if n != name})
    with pytest.raises(DataError, match=f"there is no {name} or {name}.gz in .*own"):
        read(tmp_path / "own")


# the real one


def test_real_fashion_mnist_has_55000_5000_and_10000_pictures(real):
    assert [len(s) for s in (real.train, real.validation, real.test)] == [55000, 5000, 10000]


def test_real_fashion_mnist_has_its_classes_in_balance(real):
    both = torch.bincount(real.train.targets) + torch.bincount(real.validation.targets)
    assert both.tolist() == [6000] * 10
    assert torch.bincount(real.test.targets).tolist() == [1000] * 10
    held = torch.bincount(real.validation.targets)
    # hypergeometric: mean 500, deviation about sqrt(5000 * .1 * .9 * 11 / 12) = 20.3; five of them
    assert ((held - 500).abs() < 102).all()


def test_real_fashion_mnist_is_normalised_to_mean_0_and_deviation_1(real):
    pixels = torch.cat([real.train.images, real.validation.images]).double() / 255
    assert float(pixels.mean()) == pytest.approx(room.MEAN, abs=5e-5)
    assert float(pixels.std()) == pytest.approx(room.STD, abs=5e-5)


def test_a_batch_of_real_fashion_mnist_is_its_pixels_by_the_definition(real):
    indices = torch.tensor([0, 54999, 123])
    inputs, targets = real.train.batch(indices)
    assert inputs.shape == (3, 1, 32, 32)
    expected = np.zeros((3, 1, 32, 32))
    expected[:, :, 2:30, 2:30] = real.train.images[indices].numpy()
    np.testing.assert_allclose(inputs, (expected / 255 - 0.2860) / 0.3530, rtol=1e-5, atol=1e-5)
    assert targets.equal(real.train.targets[indices])
