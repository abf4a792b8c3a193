"""Fields of nuclei: labels are what the ellipses cover, the light is theirs, and two come only as close as allowed."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from bioflax.errors import InputError
from bioflax.optics import SCMOS
from bioflax.optics.psf import WidefieldOptics
from bioflax.simulate import NucleiSimulator
from bioflax.simulate.nuclei import draw_ellipses

OPTICS = WidefieldOptics(na=0.75, wavelength_nm=461.0, pixel_nm=400.0, refractive_index=1.0)
PLAIN = {
    "optics": OPTICS, "size": 128, "room": 70, "radius_nm": 4000.0, "size_spread": 0.0, "bend": 0.0, "texture": 0.0, "blur_px": 0.0,
    "brightness_spread": 0.0, "structure": 0.0, "gradient": 0.0, "background_photons": 10.0, "photons": 200.0,
    "nuclei_per_um2": 0.0006, "touching": 0.0, "camera": SCMOS(bits=None), "structure_px": 10.0,
}  # fmt: skip
expected = jax.jit(lambda s, key: jax.vmap(s.expected_photons)(jax.random.split(key, 40)))
sample = jax.jit(lambda s, key: s.sample(key, 8))


def draw(simulator):
    """40 pictures: one compilation serves all simulators of one size and room."""
    return jax.device_get(expected(simulator, jax.random.key(0)))


def areas(labels):
    """Pixels of each object that touches no border, over all pictures."""
    found = []
    for picture in labels:
        rim = np.unique(np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]]))
        count = np.bincount(picture.ravel())
        found += [size for number, size in enumerate(count) if number and number not in rim]
    return np.array(found)


def test_labels_are_what_the_ellipses_cover() -> None:
    rng = np.random.default_rng(0)
    nuclei = {
        "centre": np.array([[14.0, 15.0], [16.0, 21.0], [40.0, 30.0]]), "radii": rng.uniform(5, 10, (3, 2)),
        "angle": rng.uniform(0, math.pi, 3), "light": np.array([1.0, 2.0, 0.5]),
    }  # fmt: skip
    warp = rng.normal(0, 0.3, (2, 56, 48))
    light, square, labels = draw_ellipses(*jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (nuclei, warp)))
    y, x = np.mgrid[:56, :48] + warp
    radius = []
    for (cy, cx), (a, b), turn in zip(nuclei["centre"], nuclei["radii"], nuclei["angle"]):
        along = (x - cx) * math.cos(turn) + (y - cy) * math.sin(turn)
        across = (y - cy) * math.cos(turn) - (x - cx) * math.sin(turn)
        radius.append((along / a) ** 2 + (across / b) ** 2)
    nearest = np.min(radius, 0)
    np.testing.assert_array_equal(labels, np.where(nearest < 1, np.argmin(radius, 0) + 1, 0))
    np.testing.assert_allclose(square, np.minimum(nearest, 1), atol=1e-4)
    assert np.sum(np.sort(radius, 0)[1] < 1) > 5  # two of them overlap, the nearer one has the pixel
    middle = light[40, 30]
    assert float(middle) == pytest.approx(0.5, rel=0.02) and float(jnp.max(jnp.where(nearest > 1.6, light, 0))) == 0


def test_interior_of_a_disc_is_its_distance_transform_over_the_maximum() -> None:
    disc = {"centre": jnp.array([[30.0, 30.0]]), "radii": jnp.array([[20.0, 20.0]]), "angle": jnp.zeros(1)}
    _, square, labels = draw_ellipses({**disc, "light": jnp.ones(1)}, jnp.zeros((2, 61, 61)))
    distance = ndimage.distance_transform_edt(labels)
    np.testing.assert_allclose(1 - np.sqrt(square), distance / distance.max(), atol=0.06)


def test_a_nucleus_has_the_light_it_is_given_and_the_rest_the_background() -> None:
    light, labels, interior = draw(NucleiSimulator(**PLAIN))
    outside = np.stack([ndimage.distance_transform_edt(picture == 0) for picture in labels])
    inner = slice(24, -24)  # nuclei just outside the field shine in
    far = (outside > 30)[:, inner, inner]
    assert far.sum() > 1e4
    np.testing.assert_allclose(light[:, inner, inner][far], 10.0, atol=0.6)
    middle = interior > 0.93
    assert middle.sum() > 20 and np.median(light[middle]) == pytest.approx(210.0, rel=0.04)
    np.testing.assert_array_equal(interior > 0, labels > 0)
    assert interior.dtype == np.float32 and labels.dtype == np.int32 and interior.min() == 0 and interior.max() <= 1


def test_nuclei_have_their_area_and_touch_without_more_overlap_than_allowed() -> None:
    apart = NucleiSimulator(**PLAIN | {"nuclei_per_um2": 0.004, "overlap": 0.0})
    beside = dataclasses.replace(apart, touching=1.0)
    overlapping = dataclasses.replace(beside, overlap=0.25)
    clumps = []
    for simulator, least in ((apart, 0.94), (beside, 0.94), (overlapping, 0.6)):
        _, labels, _ = draw(simulator)
        share = areas(labels) / (math.pi * 10.0**2)
        assert len(share) > 60 and share.max() < 1.06 and share.min() > least
        clumps.append(sum(ndimage.label(p > 0, np.ones((3, 3)))[1] for p in labels) / sum(p.max() for p in labels))
    assert share.min() < 0.94  # where overlap is allowed, some of it happens
    assert clumps[0] > 0.6 > 0.5 > clumps[1] > clumps[2] - 0.05


def test_labels_count_from_one_without_gaps_and_as_many_as_asked_for() -> None:
    simulator = NucleiSimulator(**PLAIN | {"nuclei_per_um2": 0.001})
    _, labels, _ = draw(simulator)
    for picture in labels:
        np.testing.assert_array_equal(np.unique(picture)[-1], len(np.unique(picture)) - 1)
    # Each covers pi r^2 of the plane, but for those few that find no room.
    assert (labels > 0).mean() == pytest.approx(0.001 * math.pi * 4.0**2, rel=0.12)


def test_bright_ones_lie_beside_dim_ones_and_bent_outlines_stay_whole() -> None:
    look = {"brightness_spread": 0.5, "bend": 0.1, "texture": 0.7, "size_spread": 0.18, "nuclei_per_um2": 0.004}
    light, labels, _ = draw(NucleiSimulator(**PLAIN | look))
    whole, ratio = [], []
    for picture, lit in zip(labels, light):
        numbers = np.arange(1, picture.max() + 1)
        mean = ndimage.mean(lit - np.percentile(lit, 5), picture, numbers)
        ratio.append(mean.max() / max(mean.min(), 1.0))
        whole += [ndimage.label(picture == number)[1] == 1 for number in numbers]
    assert np.median(ratio) > 2.5 and np.mean(whole) > 0.95


def test_no_nuclei_leave_a_background_with_the_noise_of_the_camera() -> None:
    empty = NucleiSimulator(**PLAIN | {"nuclei_per_um2": 0.0, "background_photons": 40.0})
    batch = sample(empty, jax.random.key(1))
    photons = SCMOS().to_photons(batch["image"])
    assert float(photons.mean()) == pytest.approx(40, rel=0.01) and int(batch["labels"].max()) == 0
    assert float(photons.var()) == pytest.approx(40 / 0.82 + (1.6 / 0.82) ** 2, rel=0.03)
    assert float(batch["interior"].max()) == 0


def test_a_batch_is_a_function_of_its_key_and_compiles_once() -> None:
    simulator = NucleiSimulator(**PLAIN | {"nuclei_per_um2": 0.003})
    first, again, other = (sample(simulator, jax.random.key(seed)) for seed in (0, 0, 1))
    sample(dataclasses.replace(simulator, radius_nm=3000.0, touching=0.5), jax.random.key(0))
    assert sample._cache_size() == 1
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        assert np.any(np.asarray(value) != np.asarray(other[name]))
    shapes = jax.eval_shape(lambda s, key: s.sample(key, 2), NucleiSimulator(size=[48, 64]), jax.random.key(0))
    assert {name: value.shape for name, value in shapes.items()} == {
        "image": (2, 48, 64, 1), "labels": (2, 48, 64), "interior": (2, 48, 64),
    }  # fmt: skip


@pytest.mark.acceptance  # every operation compiles by itself
def test_places_are_the_same_outside_jit() -> None:
    simulator = NucleiSimulator(**PLAIN | {"room": 20, "touching": 0.5})
    drawn = {"nuclei_per_um2": 0.003, "touching": 0.5, "radius_px": 10.0}

    def place(key):
        nuclei = simulator._form(key, drawn["radius_px"])
        return simulator._place(key, drawn, nuclei)

    np.testing.assert_allclose(place(jax.random.key(3)), jax.jit(place)(jax.random.key(3)), atol=1e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (8, 8, 8)}, r"NucleiSimulator.size: expected pixels, one whole number of at least 8 or \(H, W\)"),
        ({"margin_px": 1.5}, "NucleiSimulator.margin_px: expected a whole number"),
        ({"overlap": 0.9}, "NucleiSimulator.overlap: expected at least 0 and at most 0.5"),
        ({"radius_nm": 0.0}, "NucleiSimulator.radius_nm: expected above 0"),
        ({"camera": SCMOS(offset_adu=np.full((32, 32), 1.0))}, "NucleiSimulator.camera: expected maps"),
    ],
)
def test_impossible_settings_are_told(arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        NucleiSimulator(**arguments)
