"""Fields of diffraction-limited spots, such as single RNA molecules, and where they are, from physics, inside jit.

Positions are in pixels with pixel centres at integers, (y, x) or (z, y, x), so a field reaches from -0.5 to its size - 0.5.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.optics import noise
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.psf import gaussian_shares
from bioflax.optics.quantities import part, physical, quantity
from bioflax.simulate.background import draw_background
from bioflax.simulate.draw import smooth_noise
from bioflax.simulate.spans import (
    Span,
    check_camera_maps,
    check_count,
    draw_spans,
    field_size,
    highest,
    poisson_first,
    within,
)
from bioflax.typing import Batch

_CLUSTER = 5.0  # mean number of spots in a cluster
_MOST_HAZE = 0.5  # blobs that there is room for, over spots
_BLOB_SIGMAS = (3.0, 6.0)  # width of light out of focus over that of a spot
_BLOB_PEAKS = (0.05, 0.3)  # its peak over that of a mean spot
_MOST_STRAY = 4.0  # stray spots that there is room for, over spots
_LOBES = 2  # of a picture's spots
_LOBE_SIGMAS = (2.5, 5.0)  # distance of a lobe from its spot, in widths of a spot
_HALO_SIGMAS = 3.5  # width of the halo over that of the spot
_CUT = (0.3, 0.9)  # height at which a saturated picture is cut off, from its lowest value to its highest
# What is drawn once per picture.
_DRAWN = ("spots_per_px", "sigma_px", "sigma_z_ratio", "photons", "background_photons", "structure", "structure_px",
          "gradient", "perlin", "perlin_px", "haze_share", "cell_photons", "cell_px", "grain", "clustered", "cluster_px",
          "pair_share", "stray_share", "lobe_peak", "halo_peak")  # fmt: skip


@physical
class SpotSimulator:
    """Pictures or volumes of spots and their positions; a `DeviceSource` and a pytree whose physical fields are leaves.

    A pair (low, high) draws one value per picture, evenly unless said otherwise. Lengths are pixels.

    Args:
        camera: maps must be of the picture's size.
        spots_per_px: mean number of spots over the number of pixels of the plane; of a volume, all planes together.
        sigma_px: standard deviation of a spot in the plane.
        sigma_spread: its relative standard deviation among the spots of a picture.
        sigma_z_ratio: standard deviation along z over that in the plane; volumes only.
        photons: of a mean spot, in a volume those in the plane it lies in; a pair draws evenly in the logarithm.
        photons_spread: standard deviation of the logarithm among the spots of a picture.
        background_photons: per pixel.
        structure, structure_px: blotches of the background, relative standard deviation and size.
        gradient: relative rise of the background from edge to edge.
        perlin, perlin_px: Perlin noise in the background, relative amplitude and cell.
        haze_share: number of wide, dim blobs (light out of focus: 3 to 6 times as wide, no spots) over that of spots.
        stray_share: number of dim spots that are not asked for (single probes bound in the wrong place, small debris)
            over that of spots.
        stray_photons: of a stray spot over those of a mean spot; a pair draws one per stray spot, evenly in the logarithm.
        lobe_peak: peak of the two side lobes that every spot of a picture has in the same places (aberrations), over its
            own; a pair draws one per picture.
        halo_peak: peak of a halo 3.5 times as wide around every spot, over its own.
        cell_photons: per pixel inside a faint cell body.
        cell_px: size of its lobes.
        grain: relative standard deviation of its texture, which is about as fine as a spot.
        clustered: share of the spots that lie in clusters of about five.
        cluster_px: standard deviation of the members about the middle of a cluster.
        pair_share: share of the spots that belong to close pairs.
        pair_distance_px: between the two of a pair; a pair (low, high) draws one per pair.
        least_contrast: spots whose peak rises less than so many standard deviations of the noise (of all light but
            that of spots) are drawn but not asked for: their mask is 0. 0 asks for all.
        saturation: share of the pictures that are cut off at 0.3 to 0.9 of their highest value.
        size: pixels a side, (H, W) or (Z, H, W).
        margin_px: how far outside the field spots still shine into it; along z half of that.
        room: spots a picture has room for; None takes five deviations above the mean of the highest density.
        stray_room: stray spots that it has room for; None takes the highest share of `room`.
    """

    camera: SCMOS | EMCCD = part(SCMOS())
    spots_per_px: Span = quantity("spots per pixel of the plane", kind="span", at_least=0.0, default=(0.0003, 0.005))
    sigma_px: Span = quantity("px", kind="span", above=0.0, default=(1.0, 2.0))
    sigma_spread: float = quantity("relative", at_least=0.0, at_most=0.3, default=0.1)
    sigma_z_ratio: Span = quantity("sigma along z over sigma", kind="span", above=0.0, default=(1.0, 2.0))
    photons: Span = quantity("photons of a spot", kind="span", above=0.0, default=(150.0, 3000.0))
    photons_spread: float = quantity("of the logarithm", at_least=0.0, at_most=2.0, default=0.5)
    background_photons: Span = quantity("photons per pixel", kind="span", at_least=0.0, default=(2.0, 40.0))
    structure: Span = quantity("relative amplitude", kind="span", at_least=0.0, at_most=1.0, default=(0.0, 0.2))
    structure_px: Span = quantity("px", kind="span", at_least=3.0, default=(10.0, 40.0))
    gradient: Span = quantity("relative rise", kind="span", at_least=0.0, at_most=2.0, default=(0.0, 0.6))
    perlin: Span = quantity("relative amplitude", kind="span", at_least=0.0, at_most=1.0, default=(0.0, 0.3))
    perlin_px: Span = quantity("px", kind="span", at_least=3.0, default=(16.0, 64.0))
    haze_share: Span = quantity("blobs per spot", kind="span", at_least=0.0, at_most=_MOST_HAZE, default=(0.0, 0.3))
    stray_share: Span = quantity(
        "stray spots per spot", kind="span", at_least=0.0, at_most=_MOST_STRAY, default=(0.0, 1.0)
    )
    stray_photons: Span = quantity("over a mean spot", kind="span", above=0.0, at_most=0.5, default=(0.03, 0.3))
    lobe_peak: Span = quantity("over that of the spot", kind="span", at_least=0.0, at_most=0.3, default=0.0)
    halo_peak: Span = quantity("over that of the spot", kind="span", at_least=0.0, at_most=0.3, default=0.0)
    cell_photons: Span = quantity("photons per pixel", kind="span", at_least=0.0, default=(0.0, 20.0))
    cell_px: Span = quantity("px", kind="span", at_least=3.0, default=(40.0, 100.0))
    grain: Span = quantity("relative amplitude", kind="span", at_least=0.0, at_most=1.0, default=(0.0, 0.3))
    clustered: Span = quantity("share of the spots", kind="span", at_least=0.0, at_most=1.0, default=(0.0, 0.5))
    cluster_px: Span = quantity("px", kind="span", above=0.0, default=(4.0, 15.0))
    pair_share: Span = quantity("share of the spots", kind="span", at_least=0.0, at_most=1.0, default=(0.0, 0.2))
    pair_distance_px: Span = quantity("px", kind="span", at_least=0.0, default=(2.0, 6.0))
    least_contrast: float = quantity("standard deviations of the noise", at_least=0.0, default=1.5)
    saturation: float = quantity("share of the pictures", at_least=0.0, at_most=1.0, default=0.0)
    size: int | tuple[int, ...] = 256
    margin_px: int = 8
    room: int | None = None
    stray_room: int | None = None

    def _check_together(self) -> None:
        object.__setattr__(self, "size", field_size("SpotSimulator.size", self.size, (2, 3)))
        check_count("SpotSimulator.margin_px", self.margin_px, 0)
        check_camera_maps("SpotSimulator.camera", self.camera, self.shape[-2:])
        if self.room is None:
            mean = highest(self.spots_per_px) * self._area_px
            object.__setattr__(self, "room", math.ceil(mean + 5.0 * math.sqrt(mean) + 4.0))
        check_count("SpotSimulator.room", self.room, 1)
        if self.stray_room is None:
            object.__setattr__(self, "stray_room", math.ceil(highest(self.stray_share) * self.room) + 1)
        check_count("SpotSimulator.stray_room", self.stray_room, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (Z, H, W) of the pictures in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def _margins(self) -> np.ndarray:
        return np.array([self.margin_px // 2, self.margin_px, self.margin_px][-len(self.shape) :], np.float32)

    @property
    def _area_px(self) -> float:
        """Pixels of the plane, enlarged by the margins on all axes."""
        grown = np.prod((np.array(self.shape) + 2 * self._margins) / np.array(self.shape))
        return float(grown) * self.shape[-2] * self.shape[-1]

    def expected_photons(self, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """One picture without noise.

        Args:
            key: typed key.

        Returns:
            ([Z,] H, W) expected photons; and its spots, each (room,) but for `points` (room, 2 or 3) px: `photons`
            (0 where there is none), `sigma_px`, `sigma_z_px`, `contrast` (peak over noise), `mask` (1: there, inside
            the field and visible).
        """
        set_key, place_key, form_key, blob_key, veil_key, stray_key, lobe_key = jax.random.split(key, 7)
        drawn = draw_spans(set_key, self, _DRAWN, logarithmic=("photons",))
        points, there, free = self._place(place_key, drawn)
        size, light = noise.normal(form_key, (2, self.room))
        sigma_px = drawn["sigma_px"] * jnp.maximum(1.0 + self.sigma_spread * size, 0.3)
        spread = jnp.exp(self.photons_spread * light - 0.5 * self.photons_spread**2)
        spots = {"points": points, "photons": drawn["photons"] * spread * there, "sigma_px": sigma_px}
        spots["sigma_z_px"] = drawn["sigma_z_ratio"] * sigma_px
        veil = self._veil(veil_key, drawn) + self._blobs(blob_key, drawn, free, jnp.sum(there))
        veil += self._stray(stray_key, drawn, jnp.sum(there)) + self._lobes(lobe_key, drawn, spots)
        contrast = self._contrast(spots, veil)
        inside = jnp.all((points >= -0.5) & (points < jnp.asarray(self.shape) - 0.5), axis=-1)
        shown = inside & there & (contrast >= self.least_contrast)
        return veil + gaussian_light(shape=self.shape, **spots), {
            **spots,
            "contrast": contrast,
            "mask": shown.astype(jnp.float32),
        }

    def sample(self, key: jax.Array, n: int) -> Batch:
        """A batch, inside jit.

        Args:
            key: typed key; positions, light and noise take their own stream of it.
            n: pictures.

        Returns:
            "image": (n, [Z,] H, W, 1) float32 ADU; "points": (n, room, 2 or 3) px, (y, x) or (z, y, x); "mask":
            (n, room) float32, 1 for spots that are there, inside the field, and visible (`least_contrast`).
        """
        light_key, expose_key, cut_key = jax.random.split(key, 3)
        light, spots = jax.vmap(self.expected_photons)(jax.random.split(light_key, n))
        image = self._cut(cut_key, self.camera.expose(expose_key, light))
        return {"image": image[..., None], "points": spots["points"], "mask": spots["mask"]}

    def _place(self, key: jax.Array, drawn: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Positions of spots (single, in clusters, in pairs), which of them are there, and as many free positions."""
        free_key, choice_key, step_key = jax.random.split(key, 3)
        room, axes = self.room, len(self.shape)
        canvas = jnp.asarray(np.array(self.shape) + 2 * self._margins)
        free = noise.uniform(free_key, (3, room, axes)) * canvas
        choice = noise.uniform(choice_key, (5, room))
        there = poisson_first(choice[4], drawn["spots_per_px"] * self._area_px)
        scatter, heading = noise.normal(step_key, (2, room, axes))
        clusters = jnp.clip(jnp.sum(there) * drawn["clustered"] / _CLUSTER, 1.0, room - 0.5)
        gathered = free[1][(choice[0] * clusters).astype(jnp.int32)] + drawn["cluster_px"] * scatter
        # Clusters wrap round the canvas, which keeps the mean density even up to its border.
        points = jnp.where((choice[1] < drawn["clustered"])[:, None], gathered % canvas, free[0])
        # Spots 2k and 2k + 1 make a pair; both are counted, so the share of pairs is the share of spots in them.
        distance_px = within(self.pair_distance_px, choice[2])[:, None]
        step = distance_px * heading / jnp.maximum(jnp.linalg.norm(heading, axis=-1, keepdims=True), 1e-6)
        number = jnp.arange(room)
        first = number - number % 2
        paired = (number % 2 == 1) & (choice[3][first] < drawn["pair_share"])
        points = jnp.where(paired[:, None], points[first] + step, points)
        corner = 0.5 + jnp.asarray(self._margins)
        return points - corner, there, free[2] - corner

    def _blobs(self, key: jax.Array, drawn: dict[str, jax.Array], place: jax.Array, spots: jax.Array) -> jax.Array:
        """Light out of focus, ([Z,] H, W)."""
        most = math.ceil(_MOST_HAZE * self.room)
        keep, wide, bright = noise.uniform(key, (3, most))
        wide, peak = within(_BLOB_SIGMAS, wide), within(_BLOB_PEAKS, bright, logarithmic=True)
        photons = drawn["photons"] * peak * wide**2 * (keep * most < drawn["haze_share"] * spots)
        sigma_px = wide * drawn["sigma_px"]
        return gaussian_light(place[:most], photons, sigma_px, drawn["sigma_z_ratio"] * sigma_px, shape=self.shape)

    def _stray(self, key: jax.Array, drawn: dict[str, jax.Array], spots: jax.Array) -> jax.Array:
        """Light of dim spots that are not asked for, ([Z,] H, W)."""
        most, axes = self.stray_room, len(self.shape)
        place_key, light_key = jax.random.split(key)
        canvas = jnp.asarray(np.array(self.shape) + 2 * self._margins)
        points = noise.uniform(place_key, (most, axes)) * canvas - 0.5 - jnp.asarray(self._margins)
        bright = within(self.stray_photons, noise.uniform(light_key, (most,)), logarithmic=True)
        photons = drawn["photons"] * bright * (jnp.arange(most) < drawn["stray_share"] * spots)
        sigma_px = jnp.full(most, drawn["sigma_px"])
        return gaussian_light(points, photons, sigma_px, drawn["sigma_z_ratio"] * sigma_px, shape=self.shape)

    def _lobes(self, key: jax.Array, drawn: dict[str, jax.Array], spots: dict[str, jax.Array]) -> jax.Array:
        """Side lobes and halo of all spots, ([Z,] H, W): no spots, but light that moves with them."""
        light = jnp.zeros(self.shape, jnp.float32)
        far, angle = noise.uniform(key, (2, _LOBES))
        step_px = within(_LOBE_SIGMAS, far) * drawn["sigma_px"]
        for lobe in range(_LOBES):
            turn = 2.0 * jnp.pi * angle[lobe]
            offset = step_px[lobe] * jnp.stack([jnp.sin(turn), jnp.cos(turn)])
            moved = spots["points"].at[:, -2:].add(offset)
            dim = drawn["lobe_peak"] * spots["photons"]
            light += gaussian_light(moved, dim, spots["sigma_px"], spots["sigma_z_px"], shape=self.shape)
        wide = {name: _HALO_SIGMAS * spots[name] for name in ("sigma_px", "sigma_z_px")}
        dim = _HALO_SIGMAS**2 * drawn["halo_peak"] * spots["photons"]
        return light + gaussian_light(spots["points"], dim, **wide, shape=self.shape)

    def _veil(self, key: jax.Array, drawn: dict[str, jax.Array]) -> jax.Array:
        """Background and cell body, ([Z,] H, W); a volume passes from one plane's veil into another's."""

        def plane(key: jax.Array) -> jax.Array:
            back_key, body_key, grain_key = jax.random.split(key, 3)
            grain = smooth_noise(grain_key, self.shape[-2:], 3.0 * drawn["sigma_px"])
            body = jax.nn.sigmoid(4.0 * smooth_noise(body_key, self.shape[-2:], drawn["cell_px"]))
            body *= jnp.maximum(1.0 + drawn["grain"] * grain, 0.0)
            look = {name: drawn[name] for name in ("gradient", "structure", "structure_px", "perlin", "perlin_px")}
            level = draw_background(back_key, drawn["background_photons"], self.shape[-2:], **look)
            return level + drawn["cell_photons"] * body

        if len(self.shape) == 2:
            return plane(key)
        low, high = jax.vmap(plane)(jax.random.split(key))
        share = jnp.linspace(0.0, 1.0, self.shape[0])[:, None, None]
        return (1.0 - share) * low + share * high

    def _contrast(self, spots: dict[str, jax.Array], veil: jax.Array) -> jax.Array:
        """Peak of each spot over the standard deviation of the noise at its pixel, from all light but that of spots."""
        peak = spots["photons"] * jax.lax.erf(0.5 / (math.sqrt(2.0) * spots["sigma_px"])) ** 2
        counts_per_photon = self.camera.expected(veil + 1.0) - self.camera.expected(veil)
        photons_rms = jnp.sqrt(self.camera.variance(veil)) / counts_per_photon
        last = jnp.asarray(self.shape) - 1
        pixel = jnp.clip(jnp.round(spots["points"]).astype(jnp.int32), 0, last)
        return peak / jnp.maximum(photons_rms[tuple(jnp.moveaxis(pixel, -1, 0))], 1e-3)

    def _cut(self, key: jax.Array, image: jax.Array) -> jax.Array:
        """Cuts off a share of the pictures, as an exposure that is too long for the detector's range does."""
        choice, height = noise.uniform(key, (2, image.shape[0], *[1] * (image.ndim - 1)))
        axes = tuple(range(1, image.ndim))
        low, high = image.min(axes, keepdims=True), image.max(axes, keepdims=True)
        level = low + within(_CUT, height) * (high - low)
        return jnp.minimum(image, jnp.where(choice < self.saturation, level, high))


def gaussian_light(
    points: jax.Array,
    photons: jax.Array,
    sigma_px: jax.Array,
    sigma_z_px: jax.Array | None = None,
    *,
    shape: tuple[int, ...],
) -> jax.Array:
    """Sum of Gaussian spots integrated over pixels, as one matrix product.

    Args:
        points: (P, 2) or (P, 3) px, (y, x) or (z, y, x), pixel centres at integers.
        photons: (P,) light; in a volume that of the plane through the spot's middle.
        sigma_px: (P,) standard deviation in the plane.
        sigma_z_px: (P,) along z, for a volume.
        shape: (H, W) or (Z, H, W).

    Returns:
        ([Z,] H, W) photons per pixel. A spot deep in a volume has sqrt(2 pi) sigma_z_px times `photons` in all.
    """

    def shares(axis: int, sigma: jax.Array) -> jax.Array:
        return gaussian_shares(shape[axis], centre_nm=points[:, axis] + 0.5, sigma_nm=sigma, pixel_nm=1.0)

    rows, columns = photons[:, None] * shares(-2, sigma_px), shares(-1, sigma_px)
    if len(shape) == 2:
        return rows.T @ columns
    depth = math.sqrt(2.0 * math.pi) * sigma_z_px[:, None] * shares(-3, sigma_z_px)
    planes = (depth[:, :, None] * rows[:, None, :]).reshape(len(points), -1)
    return (planes.T @ columns).reshape(shape)
