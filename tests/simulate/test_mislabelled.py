"""Labels with errors: the picture stays, the shares are as asked, masks move and grow as a brute force says."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics.quantities import physical
from bioflax.simulate import Mislabelled, NucleiSimulator, SpotSimulator
from bioflax.simulate.mislabelled import grow_masks, move_masks, renumber

SPOTS = SpotSimulator(size=32, spots_per_px=0.03, stray_share=0.0, haze_share=0.0, least_contrast=0.0)
NUCLEI = NucleiSimulator(size=48, nuclei_per_um2=0.03, radius_nm=1600.0)
N = 24


@physical
class LoneDisc:
    """One disc of radius 5 px in the middle of each picture."""

    room: int = 1

    def sample(self, key: jax.Array, n: int) -> dict[str, jax.Array]:
        inside = jnp.broadcast_to(jnp.maximum(1.0 - disc(5.0), 0.0), (n, 41, 41)).astype(jnp.float32)
        return {"image": inside[..., None], "labels": (inside > 0).astype(jnp.int32), "interior": inside}


@jax.jit
def sample(simulator, key):
    return simulator.sample(key, N)


@pytest.fixture(scope="module")
def clean():
    return {name: jax.device_get(sample(one, jax.random.key(5))) for name, one in (("s", SPOTS), ("n", NUCLEI))}


def spoiled(simulator, **errors):
    return jax.device_get(sample(Mislabelled(simulator, **errors), jax.random.key(5)))


def disc(radius: float, size: int = 41) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    return np.hypot(y, x) / radius


def test_pictures_are_those_of_the_simulator_and_no_error_changes_no_label(clean) -> None:
    spots, nuclei = spoiled(SPOTS), spoiled(NUCLEI)
    assert np.array_equal(spots["image"], clean["s"]["image"]) and np.array_equal(nuclei["image"], clean["n"]["image"])
    room = SPOTS.room
    assert np.array_equal(spots["mask"][:, :room], clean["s"]["mask"]) and not spots["mask"][:, room:].any()
    assert np.allclose(
        spots["points"][:, :room][spots["mask"][:, :room] > 0], clean["s"]["points"][clean["s"]["mask"] > 0]
    )
    assert np.array_equal(nuclei["labels"], clean["n"]["labels"])
    np.testing.assert_allclose(nuclei["interior"], np.where(clean["n"]["labels"] > 0, clean["n"]["interior"], 0))
    assert not Mislabelled(SPOTS).spoils and Mislabelled(NUCLEI, grown_px=1).spoils


def test_points_are_missed_invented_and_displaced_as_often_as_asked(clean) -> None:
    batch = spoiled(SPOTS, missed=0.3, spurious=0.4, shifted_px=0.8)
    true, room = clean["s"]["mask"] > 0, SPOTS.room
    assert np.array_equal(batch["image"], clean["s"]["image"])
    kept, added = batch["mask"][:, :room] > 0, batch["mask"][:, room:] > 0
    number = true.sum()
    assert number > 300 and not (kept & ~true).any()
    assert kept.sum() / number == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / number))
    assert added.sum() / number == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / number))
    step = (batch["points"][:, :room] - clean["s"]["points"])[kept]
    inside = (np.abs(clean["s"]["points"][kept] - 15.5) < 12).all(1)  # the rest may be held at the border
    assert step[inside].std() == pytest.approx(0.8, rel=0.12) and abs(step[inside].mean()) < 0.12
    shown = batch["points"][batch["mask"] > 0]
    assert shown.min() >= -0.5 and shown.max() < 31.5
    anywhere = batch["points"][:, room:][added]
    assert anywhere.mean() == pytest.approx(15.5, abs=4 * 32 / np.sqrt(12 * anywhere.size))


def test_nuclei_are_missed_as_often_as_asked_and_renumbered(clean) -> None:
    labels = spoiled(NUCLEI, missed=0.4)["labels"]
    before, after = (
        np.array([len(np.unique(one[one > 0])) for one in all_]) for all_ in (clean["n"]["labels"], labels)
    )
    assert before.sum() > 100 and np.array_equal(after, labels.max((1, 2)))
    assert after.sum() / before.sum() == pytest.approx(0.6, abs=4 * np.sqrt(0.24 / before.sum()))
    gone = (labels == 0) & (clean["n"]["labels"] > 0)
    for one, missing in zip(clean["n"]["labels"], gone):
        for number in np.unique(one[one > 0]):
            assert missing[one == number].all() or not missing[one == number].any()  # whole or not at all


def test_masks_move_by_whole_pixels_with_the_stated_spread() -> None:
    batch = spoiled(LoneDisc(), shifted_px=2.0)
    start = disc(5.0) < 1
    middles = []
    for labels in batch["labels"]:
        middle = np.argwhere(labels).mean(0)
        assert np.array_equal(np.roll(start, np.round(middle - 20).astype(int), (0, 1)), labels > 0)
        middles.append(middle - 20)
    assert np.std(middles) == pytest.approx(np.sqrt(4 + 1 / 12), rel=0.4)  # 48 numbers: four deviations


def test_moved_masks_against_a_brute_force() -> None:
    random = np.random.default_rng(0)
    labels = np.kron(random.integers(0, 5, (4, 4)), np.ones((3, 3))).astype(np.int32)
    interior = np.where(labels > 0, random.random((12, 12)), 0).astype(np.float32)
    step, kept = random.integers(-4, 5, (4, 2)).astype(np.int32), np.array([True, False, True, True])
    best, expected = np.zeros((12, 12)), np.zeros((12, 12), int)
    for y, x in np.argwhere(labels > 0):
        k = labels[y, x] - 1
        v, u = y + step[k, 0], x + step[k, 1]
        if kept[k] and 0 <= v < 12 and 0 <= u < 12 and (expected[v, u] == 0 or interior[y, x] > best[v, u]):
            best[v, u], expected[v, u] = interior[y, x], k + 1
    found, depth = move_masks(jnp.asarray(labels), jnp.asarray(interior), jnp.asarray(kept), jnp.asarray(step))
    assert np.array_equal(found, expected)
    np.testing.assert_allclose(depth, best, atol=1e-7)


@pytest.mark.parametrize("grown_px", [3, -3])
def test_a_disc_grows_and_shrinks_to_a_disc(grown_px) -> None:
    start, end = disc(10.0), disc(10.0 + grown_px)
    labels = (start < 1).astype(np.int32)
    found, interior = grow_masks(jnp.asarray(labels), jnp.asarray((1 - start) * labels, jnp.float32), grown_px, 2)
    assert (np.asarray(found) != (end < 1)).sum() < 0.12 * (end < 1).sum()  # an octagon
    assert np.sqrt(np.sum(found) / np.pi) == pytest.approx(10.0 + grown_px, abs=0.4)
    both = (np.asarray(found) > 0) & (end < 1)
    np.testing.assert_allclose(np.asarray(interior)[both], (1 - end)[both], atol=0.12)
    assert (np.asarray(interior)[np.asarray(found) == 0] == 0).all()


def test_masks_do_not_grow_into_one_another_and_shrink_apart() -> None:
    labels = np.zeros((12, 12), np.int32)
    labels[2:8, 2:6], labels[2:8, 6:10] = 1, 2
    interior = jnp.asarray(labels > 0, jnp.float32)
    large, small = (np.asarray(grow_masks(jnp.asarray(labels), interior, step, 2)[0]) for step in (2, -1))
    assert np.array_equal(large[labels > 0], labels[labels > 0]) and (large > 0).sum() > (labels > 0).sum()
    expected = np.zeros_like(labels)
    expected[3:7, 3:5], expected[3:7, 7:9] = 1, 2
    assert np.array_equal(small, expected)


def test_numbers_have_no_gaps() -> None:
    assert np.array_equal(renumber(jnp.asarray([[0, 4, 4], [2, 0, 5]]), 6), [[0, 2, 2], [1, 0, 3]])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Mislabelled(NUCLEI, missed=1.2), r"Mislabelled\.missed: expected at least 0 and at most 1"),
        (lambda: Mislabelled(NUCLEI, grown_px=1.5), r"grown_px: expected a whole number .* found 1\.5"),
        (lambda: Mislabelled(SPOTS, grown_px=1), "grown_px: expected 0 for spots"),
        (lambda: Mislabelled(NUCLEI, spurious=0.1), r"spurious: expected 0 for nuclei, .* found 0\.1"),
    ],
)
def test_it_refuses(make, text) -> None:
    with pytest.raises(InputError, match=text):
        make()
