"""Patches cut inside jit are the pixels of the files, paired and turned together; so are those read from disk."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from bioflax.data import FolderSource, Normalization, StackSource, from_arrays, make_source, split
from bioflax.data.augment import turn
from bioflax.data.patches import load_stack, stack_megabytes
from bioflax.errors import InputError
from bioflax.typing import DeviceSource, HostSource

PLAIN = Normalization("none")


def coded(fields=3, repeats=2, sizes=((20, 24), (30, 18), (25, 25))):
    """Every pixel tells its field, capture, row and column: f * 1e5 + r * 1e4 + y * 100 + x."""
    sets = []
    for number in range(fields):
        y, x = np.indices(sizes[number])
        base = number * 1e5 + y * 100 + x
        captures = np.stack([base + (one + 1) * 1e4 for one in range(repeats)])
        sets.append(from_arrays([captures.astype(np.float32)], "TYX", [base.astype(np.float32)], repeat_axis="T"))
    return replace(sets[0], items=tuple(one.items[0] for one in sets))


def decode(values):
    values = np.asarray(values).astype(int)
    return values // 100000, values // 10000 % 10, values // 100 % 100, values % 100


@pytest.fixture(scope="module")
def image_set():
    return coded()


def sources(image_set, **options):
    """The same source on the device and on disk, as functions of a number."""
    options = {"patch": (8, 8), **options}
    stack = load_stack(image_set, PLAIN, **options)
    sample = jax.jit(lambda source, key: source.sample(key, 64))
    folder = FolderSource(image_set, PLAIN, batch_size=64, **options)
    return [lambda step: sample(stack, jax.random.key(step)), folder.batch]


def test_patches_are_windows_of_one_capture(image_set):
    for source in sources(image_set, mode="single", augment=()):
        batch = source(0)
        assert set(batch) == {"image"}
        assert batch["image"].shape == (64, 8, 8, 1)
        assert batch["image"].dtype == np.float32
        field, capture, y, x = decode(batch["image"][..., 0])
        assert (np.ptp(field, (1, 2)) == 0).all() and (np.ptp(capture, (1, 2)) == 0).all()
        assert set(field[:, 0, 0]) == {0, 1, 2} and set(capture[:, 0, 0]) == {1, 2}
        assert (np.diff(y, axis=1) == 1).all() and (np.diff(x, axis=2) == 1).all()


def test_pairs_are_two_captures_of_one_place(image_set):
    for source in sources(image_set, mode="pairs"):
        batch = source(1)
        field, capture, y, x = decode(batch["image"][..., 0])
        other_field, other, other_y, other_x = decode(batch["target"][..., 0])
        np.testing.assert_array_equal(field, other_field)
        np.testing.assert_array_equal((y, x), (other_y, other_x))  # also after the same turn
        assert set(zip(capture[:, 0, 0], other[:, 0, 0], strict=True)) == {(1, 2), (2, 1)}
        assert {-1, 1} <= set(np.diff(x, axis=2)[:, 0, 0]), "no flip in 64 patches"
        assert (np.diff(x, axis=2)[:, 0, 0] == 0).any(), "no quarter turn in 64 patches"


def test_targets_are_the_clean_picture_of_the_place(image_set):
    for source in sources(image_set, mode="target"):
        batch = source(2)
        noise = np.asarray(batch["image"]) - np.asarray(batch["target"])
        assert set(noise.ravel().round(-4)) == {10000, 20000}
        assert (np.ptp(noise, (1, 2, 3)) < 1).all()


def test_the_held_out_region_is_never_touched(image_set):
    parts = split(image_set, 0.15, "region", patch=(8, 8))
    held = [{v for v in field.target.read().ravel().tolist()} for field in parts.validation.items]
    for source in sources(parts.train, mode="target", augment=()):
        seen = [set(np.asarray(source(step)["target"]).ravel().tolist()) for step in range(12)]
        for pixels in held:
            assert not pixels & set().union(*seen)


def test_a_batch_is_a_function_of_its_key_or_step(image_set):
    for source in sources(image_set, mode="pairs"):
        np.testing.assert_array_equal(source(5)["image"], source(5)["image"])
        assert not np.array_equal(source(5)["image"], source(6)["image"])
    one, other = (
        FolderSource(image_set, PLAIN, patch=(8, 8), mode="single", batch_size=4, seed=seed).batch(0) for seed in (0, 1)
    )
    assert not np.array_equal(one["image"], other["image"])


def test_device_and_disk_turn_the_same_numbers_into_the_same_patches(image_set, monkeypatch):
    stack = load_stack(image_set, PLAIN, patch=(8, 8), mode="pairs")
    folder = FolderSource(image_set, PLAIN, patch=(8, 8), mode="pairs", batch_size=16, seed=3)
    uniform = np.random.default_rng((3, 7)).random((16, 5), np.float32)
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: jax.numpy.asarray(uniform))
    expected, found = folder.batch(7), stack.sample(jax.random.key(0), 16)
    np.testing.assert_array_equal(found["image"], expected["image"])
    np.testing.assert_array_equal(found["target"], expected["target"])


def test_the_source_is_a_pytree_that_compiles_once(image_set):
    stack = load_stack(image_set, PLAIN, patch=(8, 8), mode="target")
    assert isinstance(stack, DeviceSource)
    leaves, structure = jax.tree.flatten(stack)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    sample = jax.jit(lambda source, key: source.sample(key, 4))
    for step in range(3):
        sample(jax.tree.unflatten(structure, leaves), jax.random.key(step))
    assert sample._cache_size() == 1
    np.testing.assert_array_equal(
        sample(stack, jax.random.key(1))["image"], stack.sample(jax.random.key(1), 4)["image"]
    )
    single = load_stack(image_set, PLAIN, patch=(8, 8), mode="single")
    assert single.targets is None


def test_pixels_are_normalised_once_on_load(image_set):
    affine, clean = Normalization("mean_std", (50.0,), (4.0,)), Normalization("mean_std", (0.0,), (10.0,))
    options = {"patch": (8, 8), "mode": "target", "target_normalization": clean}
    stack = load_stack(image_set, affine, **options)
    np.testing.assert_allclose(stack.images[0, :20, :24], affine.apply(image_set.items[0].repeats[0].read()))
    np.testing.assert_allclose(stack.targets[1, :30, :18], clean.apply(image_set.items[1].target.read()))
    assert float(np.abs(stack.images[0, 20:]).max()) == 0.0
    batch = FolderSource(image_set, affine, batch_size=4, **options).batch(0)
    noisy = affine.invert(batch["image"]) - clean.invert(batch["target"])
    assert set(noisy.ravel().round(-4)) <= {10000, 20000}


def test_volumes_with_two_channels():
    volume = np.random.default_rng(0).random((2, 6, 12, 12, 2)).astype(np.float32)
    volumes = from_arrays([volume], "TZYXC", repeat_axis="T", spatial_dims=3)
    stack = load_stack(volumes, PLAIN, patch=(4, 8, 8), mode="pairs", foreground=0.3)
    batch = jax.jit(lambda source, key: source.sample(key, 5))(stack, jax.random.key(0))
    assert batch["image"].shape == batch["target"].shape == (5, 4, 8, 8, 2)
    plain = FolderSource(volumes, PLAIN, patch=(4, 8, 8), mode="single", batch_size=3, augment=())
    patch = plain.batch(0)["image"][0]
    windows = np.lib.stride_tricks.sliding_window_view(volume, (4, 8, 8), (1, 2, 3)).reshape(-1, 2, 4, 8, 8)
    assert (np.moveaxis(patch, -1, 0) == windows).all((1, 2, 3, 4)).any() or any(
        np.array_equal(np.moveaxis(patch, -1, 0), volume[t, z : z + 4, y : y + 8, x : x + 8].transpose(3, 0, 1, 2))
        for t in range(2)
        for z in range(3)
        for y in range(5)
        for x in range(5)
    )


def test_large_sets_stay_on_disk(image_set):
    assert stack_megabytes(image_set) == pytest.approx(6 * 30 * 25 * 4 / 1e6)
    assert stack_megabytes(image_set, "target") == pytest.approx(9 * 30 * 25 * 4 / 1e6)
    options = {"patch": (8, 8), "mode": "pairs", "batch_size": 4}
    assert isinstance(make_source(image_set, PLAIN, **options), StackSource)
    folder = make_source(image_set, PLAIN, device_limit_mb=0.001, foreground=0.5, **options)
    assert isinstance(folder, FolderSource) and isinstance(folder, HostSource)
    assert folder.batch(0)["image"].shape == (4, 8, 8, 1)
    with pytest.raises(InputError, match="device_limit_mb: expected megabytes"):
        make_source(image_set, PLAIN, device_limit_mb=-1, **options)
    with pytest.raises(InputError, match="batch_size: expected 1 or more, found 0"):
        FolderSource(image_set, PLAIN, patch=(8, 8), mode="pairs", batch_size=0)


def test_errors_come_before_any_pixel_is_read(image_set, monkeypatch):
    monkeypatch.setattr(type(image_set.items[0].repeats[0]), "read", lambda self: pytest.fail("pixels were read"))
    with pytest.raises(InputError, match="does not fit into"):
        load_stack(image_set, PLAIN, patch=(8, 40), mode="single")
    with pytest.raises(InputError, match="rot90 needs patches as high as wide"):
        load_stack(image_set, PLAIN, patch=(8, 10), mode="single")
    with pytest.raises(InputError, match="mode: expected"):
        load_stack(image_set, PLAIN, patch=(8, 8), mode="triples")


def test_turn_without_augmentation_costs_nothing(image_set):
    patches = np.zeros((2, 4, 4, 1))
    assert turn(patches, (None, None, None), (), np) is patches
