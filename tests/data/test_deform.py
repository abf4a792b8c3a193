"""Augmentation: labels, maps and positions go where the picture goes; every part against a closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.data import deform
from bioflax.data.augment import draw_turns, turn
from bioflax.data.deform import Deformation, turn_points
from bioflax.errors import InputError
from bioflax.simulate.spots import gaussian_light

KEY = jax.random.key(0)
elastic = jax.jit(deform.elastic, static_argnames=("amplitude_px", "cell_px", "zoom", "rotate", "outside"))
blur, add_noise = (jax.jit(part, static_argnums=2) for part in (deform.blur, deform.add_noise))
jitter_intensity = jax.jit(deform.jitter_intensity, static_argnames=("gain", "offset"))


def apply(deformation, batch, key=KEY):
    return jax.jit(deformation.apply)(key, batch)


OFF = {
    "flip": False, "rot90": False, "elastic_px": None, "zoom": None, "rotate": None,
    "gain": None, "offset": None, "blur_px": None, "noise": None,
}  # fmt: skip


def coordinates(n=1, height=64, width=64):
    """Pictures whose two channels say where a pixel is."""
    plane = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
    return jnp.asarray(np.broadcast_to(plane, (n, height, width, 2)), jnp.float32)


@pytest.mark.parametrize("augment", [(), ("flip",), ("rot90",), ("flip", "rot90")])
@pytest.mark.parametrize("depth", [None, 3])
def test_points_turn_with_the_pixels(augment, depth) -> None:
    shape = (7, 7) if depth is None else (depth, 7, 7)
    place = np.random.default_rng(0).integers(0, shape, (64, 1, len(shape)))
    images = np.zeros((64, *shape, 1), np.float32)
    images[(np.arange(64), *place[:, 0].T)] = 1
    turns = draw_turns(jnp.linspace(0, 0.999, 64), augment, jnp)
    turned = np.asarray(turn(jnp.asarray(images), turns, augment, jnp))
    moved = np.asarray(turn_points(jnp.asarray(place, jnp.float32), turns, augment, shape))[:, 0]
    np.testing.assert_array_equal(moved, np.argwhere(turned[..., 0])[:, 1:])


def test_points_flip_in_a_field_that_is_not_square() -> None:
    image = np.zeros((16, 5, 9, 1), np.float32)
    image[:, 1, 7] = 1
    turns = draw_turns(jnp.linspace(0, 0.999, 16), ("flip",), jnp)
    moved = turn_points(jnp.full((16, 1, 2), jnp.array([1.0, 7.0])), turns, ("flip",), (5, 9))
    turned = np.asarray(turn(jnp.asarray(image), turns, ("flip",), jnp))
    np.testing.assert_array_equal(np.asarray(moved)[:, 0], np.argwhere(turned[..., 0])[:, 1:])


def test_a_zoom_about_the_middle_is_exact_on_a_ramp() -> None:
    warped = elastic(KEY, coordinates(), zoom=2.0, points=jnp.array([[[31.5, 31.5], [20.0, 40.0], [2.0, 60.0]]]))
    expected = 31.5 + (np.asarray(coordinates()) - 31.5) / 2
    np.testing.assert_allclose(warped["image"], expected, atol=1e-4)
    np.testing.assert_allclose(warped["points"][0], [[31.5, 31.5], [8.5, 48.5], [-27.5, 88.5]], atol=1e-4)
    np.testing.assert_array_equal(warped["inside"][0], [True, True, False])


def test_the_displacement_has_its_amplitude_and_never_folds() -> None:
    image = coordinates(40, 96, 96)
    moved = np.asarray(elastic(KEY, image, amplitude_px=3.0, cell_px=24.0)["image"] - image)[:, 24:-24, 24:-24]
    assert moved.std() == pytest.approx(3.0, rel=0.08) and abs(moved.mean()) < 0.4
    slope = np.gradient(moved, axis=(1, 2))
    assert slope[0].std() == pytest.approx(1.18 * 3 / 24, rel=0.1)  # closed form for cubic B-splines
    determinant = (1 + slope[0][..., 0]) * (1 + slope[1][..., 1]) - slope[0][..., 1] * slope[1][..., 0]
    assert determinant.min() > 0


@pytest.mark.parametrize("parts", [{"amplitude_px": 2.0, "cell_px": 32.0}, {"zoom": (0.8, 1.25), "rotate": 180.0}])
def test_a_spot_stays_under_its_point(parts) -> None:
    n, shape = 32, (64, 64)
    points = jnp.asarray(np.random.default_rng(1).uniform(20, 44, (n, 1, 2)), jnp.float32)
    draw = jax.vmap(lambda place: gaussian_light(place, jnp.array([1e3]), jnp.array([1.5]), shape=shape))
    warped = elastic(KEY, draw(points)[..., None], points=points, **parts)
    image, moved = np.asarray(warped["image"])[..., 0], np.asarray(warped["points"])[:, 0]
    light = image.sum((1, 2))
    y, x = np.mgrid[:64, :64]
    centroid = np.stack([(image * axis).sum((1, 2)) / light for axis in (y, x)], -1)
    assert np.abs(moved - np.asarray(points)[:, 0]).max() > 3
    assert np.abs(centroid - moved).max() < 0.1


def test_all_parts_of_a_warp_at_once_are_undone_at_the_points() -> None:
    points = jnp.asarray(np.random.default_rng(2).uniform(0, 63, (8, 50, 2)), jnp.float32)
    parts = {"amplitude_px": (0.0, 3.0), "cell_px": 24.0, "zoom": (0.8, 1.25), "rotate": 30.0}
    warped = elastic(KEY, coordinates(8), points=points, **parts)
    for source, moved, inside, start in zip(*(np.asarray(warped[k]) for k in ("image", "points", "inside")), points):
        keep = inside & np.all((moved > 1) & (moved < 62), -1) & np.all((start > 2) & (start < 61), -1)
        low = np.floor(moved[keep]).astype(int)
        down, right = (moved[keep] - low).T[..., None]
        at = [source[low[:, 0] + a, low[:, 1] + b] for a in (0, 1) for b in (0, 1)]
        found = (1 - down) * ((1 - right) * at[0] + right * at[1]) + down * ((1 - right) * at[2] + right * at[3])
        assert keep.sum() > 15
        np.testing.assert_allclose(found, start[keep], atol=0.05)


def test_labels_and_maps_follow_the_picture() -> None:
    labels = np.zeros((2, 48, 48), np.int32)
    labels[:, 10:22, 12:30], labels[:, 26:40, 8:40] = 3, 7
    image = jnp.asarray(labels, jnp.float32)[..., None]
    parts = {"amplitude_px": 2.0, "cell_px": 16.0, "rotate": 90.0}
    warped = elastic(KEY, image, labels=jnp.asarray(labels), maps=image[..., 0], **parts)
    assert warped["labels"].dtype == jnp.int32 and np.array_equal(np.unique(warped["labels"]), [0, 3, 7])
    np.testing.assert_array_equal(warped["maps"], warped["image"][..., 0])
    moved, exact = np.asarray(warped["labels"]), np.asarray(warped["maps"])
    flat = exact == np.round(exact)
    assert flat.mean() > 0.7 and (moved != labels).mean() > 0.1
    np.testing.assert_array_equal(moved[flat], exact[flat])


def test_a_volume_is_warped_in_the_plane_only() -> None:
    planes = jnp.stack([coordinates(2, 24, 24), 2 * coordinates(2, 24, 24)], axis=1)
    points = jnp.array([[[1.0, 5.0, 9.0]]] * 2)
    labels = jnp.broadcast_to(jnp.array([4, 9])[None, :, None, None], (2, 2, 24, 24))
    warped = elastic(KEY, planes, rotate=45.0, zoom=1.5, points=points, labels=labels)
    np.testing.assert_allclose(warped["image"][:, 1], 2 * warped["image"][:, 0], rtol=1e-6)
    plane = elastic(KEY, coordinates(2, 24, 24), rotate=45.0, zoom=1.5, points=points[..., 1:])
    np.testing.assert_allclose(warped["image"][:, 0], plane["image"], rtol=1e-6)
    np.testing.assert_allclose(warped["points"][..., 1:], plane["points"], rtol=1e-6)
    np.testing.assert_array_equal(warped["points"][..., 0], 1.0)
    np.testing.assert_array_equal(warped["labels"], labels)


def test_beyond_the_border_lies_the_edge_or_the_mirrored_picture() -> None:
    edge, mirror = (
        np.asarray(elastic(KEY, coordinates(), zoom=0.5, outside=mode)["image"])[0, :, 0, 0]
        for mode in ("edge", "mirror")
    )
    source = 31.5 + (np.arange(64) - 31.5) * 2
    np.testing.assert_allclose(edge, np.clip(source, 0, 63), atol=1e-4)
    np.testing.assert_allclose(mirror, 63 - np.abs(np.abs(source) - 63), atol=1e-4)


def test_changes_of_light() -> None:
    image = jnp.ones((400, 4, 4, 1)) * jnp.array([0.0, 1.0, 2.0, 3.0])[:, None, None]
    changed = np.asarray(jitter_intensity(KEY, image, gain=(0.6, 2.0), offset=(-0.2, 0.2)))
    gain, offset = changed[:, 1, 0, 0] - changed[:, 0, 0, 0], changed[:, 0, 0, 0]
    assert gain.min() > 0.6 and gain.max() < 2.0 and gain.mean() == pytest.approx(1.3, abs=0.08)
    assert np.abs(offset).max() < 0.2 and offset.std() == pytest.approx(0.4 / np.sqrt(12), rel=0.1)
    np.testing.assert_allclose(changed[:, 3, 2, 0], 3 * gain + offset, rtol=1e-5)
    noisy = np.asarray(add_noise(KEY, jnp.zeros((200, 16, 16, 1)), (0.1, 0.3))).std((1, 2, 3))
    assert noisy.min() > 0.08 and noisy.max() < 0.33 and noisy.mean() == pytest.approx(0.2, abs=0.015)


def test_blur_widens_half_of_the_spots() -> None:
    image = jnp.zeros((200, 21, 21, 1)).at[:, 10, 10].set(1.0)
    blurred = np.asarray(blur(KEY, image, (1.0, 1.0)))[..., 0]
    variance = (blurred.sum(2) * (np.arange(21) - 10) ** 2).sum(1)
    unchanged = (blurred == np.asarray(image)[..., 0]).all((1, 2))
    assert 0.4 < unchanged.mean() < 0.6
    np.testing.assert_allclose(variance[~unchanged], 1.0, atol=0.03)
    np.testing.assert_allclose(blurred.sum((1, 2)), 1.0, rtol=1e-5)


def batch_of(n=4, size=32):
    rng = np.random.default_rng(3)
    return {
        "image": jnp.asarray(rng.random((n, size, size, 1)), jnp.float32),
        "labels": jnp.asarray(rng.integers(0, 5, (n, size, size)), jnp.int32),
        "interior": jnp.asarray(rng.random((n, size, size)), jnp.float32),
        "points": jnp.asarray(rng.uniform(0, size - 1, (n, 6, 2)), jnp.float32),
        "mask": jnp.ones((n, 6), jnp.float32),
        "other": jnp.arange(n),
    }


def test_a_deformation_that_is_off_changes_nothing() -> None:
    batch = batch_of()
    for same in (Deformation(**OFF), Deformation(**{name: 0 for name in OFF})):
        for name, value in same.apply(KEY, batch).items():
            np.testing.assert_array_equal(value, batch[name])


def test_a_deformation_is_a_function_of_its_key() -> None:
    deformation, batch = Deformation(rotate=20, blur_px=1.0, elastic_px=[0, 2], zoom=[0.9, 1.1]), batch_of()
    compiled = jax.jit(deformation.apply)
    first, again, other = (compiled(key, batch) for key in (KEY, KEY, jax.random.key(1)))
    assert compiled._cache_size() == 1 and set(first) == set(batch)
    for name, value in first.items():
        assert value.shape == batch[name].shape and value.dtype == batch[name].dtype
        np.testing.assert_array_equal(value, again[name])
    assert float(jnp.abs(first["image"] - other["image"]).mean()) > 0.05
    np.testing.assert_array_equal(first["other"], batch["other"])


@pytest.mark.acceptance  # every operation compiles by itself
def test_a_warp_is_the_same_outside_jit() -> None:
    parts = {"points": jnp.array([[[5.0, 9.0]]]), "amplitude_px": 2.0, "cell_px": 16.0}
    compiled, eager = (warp(KEY, coordinates(1, 24, 24), **parts) for warp in (elastic, deform.elastic))
    for name, value in eager.items():
        np.testing.assert_allclose(compiled[name], value, atol=1e-4)


def test_points_that_leave_lose_their_mask() -> None:
    batch = batch_of(1) | {"points": jnp.array([[[15.5, 15.5], [1.0, 15.0]]]), "mask": jnp.array([[1.0, 1.0]])}
    moved = apply(Deformation(**{**OFF, "zoom": 2.0}), batch)
    np.testing.assert_array_equal(moved["mask"], [[1.0, 0.0]])
    np.testing.assert_allclose(moved["points"][0, 0], 15.5, atol=1e-4)


def test_parts_take_their_own_streams() -> None:
    turns = {**OFF, "flip": True, "rot90": True}
    turned, brighter = (apply(Deformation(**parts), batch_of()) for parts in (turns, turns | {"gain": 2.0}))
    np.testing.assert_allclose(brighter["image"], 2 * turned["image"], rtol=1e-6)
    np.testing.assert_array_equal(brighter["points"], turned["points"])
    alone = apply(Deformation(**turns), {"image": batch_of()["image"]})
    np.testing.assert_array_equal(alone["image"], turned["image"])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Deformation(elastic_px=8.0), "elastic_cell_px: expected at least 64, eight times the amplitude"),
        (lambda: Deformation(zoom=(0.0, 1.0)), "zoom: expected above 0"),
        (lambda: Deformation(gain=(2.0, 1.0)), r"deform.gain: expected one number or \(low, high\) with low <= high"),
        (lambda: Deformation(gain=[1.0]), "deform.gain: expected one number"),
        (lambda: Deformation(noise=-1.0), "deform.noise: expected at least 0"),
        (lambda: elastic(KEY, coordinates(), outside="wrap"), "outside: expected one of edge, mirror, found 'wrap'"),
        (lambda: elastic(KEY, coordinates(1, 1, 8)), "image: expected at least 2 x 2 pixels"),
        (
            lambda: Deformation(**{**OFF, "rot90": True}).apply(KEY, {"image": coordinates(1, 8, 12)}),
            "augment: rot90 needs patches as high as wide",
        ),
    ],
)
def test_wrong_settings_say_what_is_wrong(make, text) -> None:
    with pytest.raises(InputError, match=text):
        make()
