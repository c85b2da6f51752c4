"""Several files are one data set to an engine, and every sample, label and error still tells which file it is of."""

import pickle

import numpy as np
import pytest

from frl.beton import Beton, BetonWriter
from frl.beton.targets import Kind, TargetSpec
from frl.errors import BetonError, ConfigError
from pipelines.sampling.beton_set import BetonSet


@pytest.fixture
def three(write_beton):
    """Files of 5, 3 and 4 pictures, each with pictures of its own."""
    paths = [
        write_beton([(20, 30)] * 5, name="a.beton"),
        write_beton([(48, 16)] * 3, name="b.beton"),
        write_beton([(24, 24), (8, 9), (24, 24), (50, 2)], name="c.beton"),
    ]
    with_closed = BetonSet(paths)
    yield with_closed
    with_closed.close()


def test_samples_follow_each_other(three):
    betons = three.betons
    assert len(three) == 12 and three.starts.tolist() == [0, 5, 8, 12]
    each = [(beton, i) for beton in betons for i in range(len(beton))]
    for sample, (beton, i) in enumerate(each):
        np.testing.assert_array_equal(three.encoded(sample), beton.encoded(i))
        assert (three.heights[sample], three.widths[sample]) == (beton.heights[i], beton.widths[i])
        assert three.name(sample) == f"{beton.path}: {beton.name(i)}"
    assert three.max_side == 50
    assert three.path == " ".join(str(beton.path) for beton in betons)


def test_labels_do_not_collide(three):
    labels = np.split(three.labels, three.starts[1:-1])
    assert [part.tolist() for part in labels] == [[0, 1, 2, 0, 1], [3, 4, 5], [6, 7, 8, 6]]


def test_unknown_labels_stay_unknown(write_beton, tmp_path):
    plain = write_beton([(20, 20)] * 2)
    with BetonWriter(tmp_path / "u.beton", capacity=2, page_size=1 << 21) as writer:
        for i in range(2):
            writer.append(Beton(plain).encoded(i).tobytes(), 20, 20, -1, f"{i}")
    assert BetonSet([tmp_path / "u.beton", plain]).labels.tolist() == [-1, -1, 0, 1]


def test_pages_tell_the_files_apart_and_lead_to_the_bytes(three):
    for sample in range(len(three)):
        file, start, stop = three.page_bytes(int(three.pages[sample]))
        beton, i = three._find(sample)
        assert three.betons[file] is beton
        assert start <= beton.pointers[i] < stop <= beton.data.size
    assert len(np.unique(three.pages)) == 3


def test_the_fingerprint_covers_every_file_and_their_order(three):
    a, b, c = (beton.path for beton in three.betons)
    prints = {BetonSet(paths).fingerprint for paths in ([a], [b], [a, b], [b, a], [a, c], [a, b, c])}
    assert len(prints) == 6
    assert BetonSet([a]).fingerprint == Beton(a).fingerprint


def test_one_file_needs_no_name(write_beton):
    path = write_beton([(20, 20)] * 2)
    assert BetonSet([path]).name(1) == Beton(path).name(1)


def test_workers_get_the_same_files(three):
    copy = pickle.loads(pickle.dumps(three))
    assert copy.fingerprint == three.fingerprint
    np.testing.assert_array_equal(copy.encoded(9), three.encoded(9))


@pytest.mark.parametrize("index", [-1, 12])
def test_there_is_no_such_sample(three, index):
    with pytest.raises(IndexError, match=f"has no sample {index}: it holds 12"):
        three.encoded(index)


class TestBadInput:
    def test_the_broken_file_is_named(self, three, tmp_path):
        data = three.betons[1].path.read_bytes()
        (tmp_path / "short.beton").write_bytes(data[:-1])
        with pytest.raises(BetonError, match="short.beton.*truncated"):
            BetonSet([three.betons[0].path, tmp_path / "short.beton"])

    def test_the_missing_file_is_named(self, three, tmp_path):
        with pytest.raises(BetonError, match="nowhere.beton"):
            BetonSet([three.betons[0].path, tmp_path / "nowhere.beton"])

    def test_no_file(self):
        with pytest.raises(ConfigError, match="--data: no file given"):
            BetonSet([])

    def test_a_file_twice(self, three):
        path = three.betons[0].path
        with pytest.raises(ConfigError, match="a.beton: it is the same data set as .*a.beton.*--weights"):
            BetonSet([path, path])


def write_targets(path, specs, values, seed=0):
    with BetonWriter(path, capacity=len(values), page_size=1 << 21, targets=specs) as writer:
        for i, known in enumerate(values):
            writer.append(bytes([seed, i]) * 9, 20, 20, -1, f"{seed}/{i}", known)
    return path


AGE = TargetSpec(name="age", kind=Kind.VECTOR)
POINTS = TargetSpec(name="points", kind=Kind.POINTS, shape=(5, 2))
MOOD = TargetSpec(name="mood", kind=Kind.CLASS)


def test_the_targets_that_all_files_have_are_read_across_them(tmp_path):
    a = write_targets(tmp_path / "a.beton", (AGE, POINTS), [{"age": i, "points": np.full((5, 2), i)} for i in range(3)])
    b = write_targets(
        tmp_path / "b.beton", (POINTS, MOOD, AGE), [{"age": 10, "mood": 1}, {"points": np.ones((5, 2))}], seed=1
    )
    with pytest.warns(UserWarning, match="the target mood is not used.*none in .*a.beton; class in .*b.beton"):
        both = BetonSet([a, b])
    assert both.targets == (AGE, POINTS)
    order = np.array([4, 0, 3, 2])
    np.testing.assert_array_equal(both.target("age", order), [np.nan, 0, 10, 2])
    np.testing.assert_array_equal(both.target("points", order)[:, 4, 1], [1, 0, np.nan, 2])
    with pytest.raises(KeyError, match="no target 'mood' in common"):
        both.target("mood", order)
    with pytest.raises(IndexError, match="holds 5"):
        both.target("age", np.array([5]))
    both.close()


def test_targets_of_other_shapes_are_not_used_and_the_user_is_told(tmp_path):
    a = write_targets(tmp_path / "a.beton", (POINTS, AGE), [{}])
    b = write_targets(
        tmp_path / "b.beton", (TargetSpec(name="points", kind=Kind.POINTS, shape=(68, 2)), AGE), [{}], seed=1
    )
    with pytest.warns(UserWarning, match=r"points \(5, 2\) in .*a.beton; points \(68, 2\) in .*b.beton"):
        assert BetonSet([a, b]).targets == (AGE,)


def test_files_that_differ_in_a_target_only_are_two_data_sets(tmp_path):
    one, two = (write_targets(tmp_path / f"{i}.beton", (POINTS,), [{"points": np.full((5, 2), i)}]) for i in range(2))
    assert Beton(one).fingerprint == Beton(two).fingerprint
    assert BetonSet([one]).fingerprint != BetonSet([two]).fingerprint
    assert len(BetonSet([one, two])) == 2
