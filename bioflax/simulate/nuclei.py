"""Fields of stained nuclei and their labels, from physics, inside jit: what an instance model can be trained on."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from bioflax.optics import noise
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.psf import WidefieldOptics, blur, gaussian_otf
from bioflax.optics.quantities import part, physical, quantity
from bioflax.simulate.background import draw_background
from bioflax.simulate.draw import smooth_noise
from bioflax.simulate.spans import Span, check_camera_maps, check_count, draw_spans, field_size, highest, poisson_first
from bioflax.typing import Batch

_TRIES = 4  # places at which a nucleus looks for room
_FAR_PX = 1e5  # where nuclei wait that are not there
# What is drawn once per picture.
_DRAWN = ("nuclei_per_um2", "radius_nm", "photons", "background_photons", "structure", "structure_px", "gradient",
          "texture", "touching", "blur_px")  # fmt: skip


@physical
class NucleiSimulator:
    """Pictures of nuclei and their labels; a `DeviceSource` and a pytree whose physical fields are leaves.

    Nuclei are bent ellipses that are thicker in the middle, with chromatin, chromocentres and nucleoli. Their light adds
    up where they overlap; a pixel there belongs to the nucleus whose middle is nearer in units of its radius.
    A pair (low, high) draws one value per picture, evenly unless said otherwise.

    Args:
        optics: objective and pixel; `haze` veils the picture.
        camera: maps must be of the picture's size.
        nuclei_per_um2: mean number per area; less where they find no room.
        radius_nm: of a mean nucleus, the geometric mean of its half axes.
        size_spread: standard deviation of the logarithm of the radius among the nuclei of a picture.
        photons: per pixel where the blurred density is 1, the middle of a mean nucleus; a pair draws in the logarithm.
        brightness_spread: standard deviation of the logarithm among the nuclei of a picture; cut off at twice that.
        texture: contrast of the chromatin.
        bend: displacement that bends the outlines, standard deviation over the radius.
        touching: share of the nuclei that lie at the side of another one.
        overlap: two nuclei may come as close as this share of the sum of their radii, measured along the line between them.
        blur_px: standard deviation of a further blur, from defocus.
        background_photons: per pixel.
        structure, structure_px: blotches of the background, relative standard deviation and size.
        gradient: relative rise of the background from edge to edge.
        size: pixels a side, or (H, W).
        margin_px: how far outside the field nuclei still lie or shine into it.
        room: nuclei a picture has room for; None takes three deviations above the mean of the highest density.
    """

    optics: WidefieldOptics = part(
        WidefieldOptics(na=0.75, wavelength_nm=461.0, pixel_nm=325.0, refractive_index=1.0, haze=0.2, haze_nm=4000.0)
    )
    camera: SCMOS | EMCCD = part(SCMOS())
    nuclei_per_um2: Span = quantity("nuclei per square micrometre", kind="span", at_least=0.0, default=(0.001, 0.006))
    radius_nm: Span = quantity("nm", kind="span", above=0.0, default=(3000.0, 6000.0))
    size_spread: float = quantity("of the logarithm", at_least=0.0, at_most=0.6, default=0.18)
    photons: Span = quantity("photons per pixel", kind="span", above=0.0, default=(30.0, 400.0))
    brightness_spread: float = quantity("of the logarithm", at_least=0.0, at_most=1.5, default=0.5)
    texture: Span = quantity("contrast", kind="span", at_least=0.0, at_most=1.0, default=(0.1, 0.7))
    bend: float = quantity("of the radius", at_least=0.0, at_most=0.2, default=0.1)
    touching: Span = quantity("share of the nuclei", kind="span", at_least=0.0, at_most=1.0, default=(0.0, 0.6))
    overlap: float = quantity("share of the radii", at_least=0.0, at_most=0.5, default=0.12)
    blur_px: Span = quantity("px", kind="span", at_least=0.0, default=(0.0, 1.5))
    background_photons: Span = quantity("photons per pixel", kind="span", at_least=0.0, default=(3.0, 30.0))
    structure: Span = quantity("relative amplitude", kind="span", at_least=0.0, at_most=1.0, default=(0.0, 0.2))
    structure_px: Span = quantity("px", kind="span", at_least=3.0, default=(10.0, 60.0))
    gradient: Span = quantity("relative rise", kind="span", at_least=0.0, at_most=2.0, default=(0.0, 0.6))
    size: int | tuple[int, int] = 256
    margin_px: int = 16
    room: int | None = None

    def _check_together(self) -> None:
        object.__setattr__(self, "size", field_size("NucleiSimulator.size", self.size, (2,)))
        check_count("NucleiSimulator.margin_px", self.margin_px, 0)
        check_camera_maps("NucleiSimulator.camera", self.camera, self.shape)
        if self.room is None:
            mean = highest(self.nuclei_per_um2) * float(self._area_um2)
            object.__setattr__(self, "room", math.ceil(mean + 3.0 * math.sqrt(mean) + 2.0))
        check_count("NucleiSimulator.room", self.room, 1)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the pictures in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def canvas(self) -> tuple[int, int]:
        """(H, W) of the drawn field, margins included."""
        return self.shape[0] + 2 * self.margin_px, self.shape[1] + 2 * self.margin_px

    @property
    def _area_um2(self) -> jax.Array:
        return self.canvas[0] * self.canvas[1] * (1e-3 * self.optics.pixel_nm) ** 2

    def expected_photons(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """One picture without noise.

        Args:
            key: typed key.

        Returns:
            (H, W) expected photons, labels (int32) and interior, as `sample` describes them.
        """
        set_key, place_key, form_key, warp_key, field_key, back_key = jax.random.split(key, 6)
        drawn = draw_spans(set_key, self, _DRAWN, logarithmic=("photons",))
        radius_px = drawn["radius_nm"] / self.optics.pixel_nm
        nuclei = self._form(form_key, radius_px)
        nuclei["centre"] = self._place(place_key, drawn, nuclei)
        warp = jax.vmap(lambda k: smooth_noise(k, self.canvas, 0.9 * radius_px))(jax.random.split(warp_key))
        body, square, labels = draw_ellipses(nuclei, self.bend * radius_px * warp)
        density = blur(body * self._chromatin(field_key, radius_px, drawn["texture"]), self._otf(drawn["blur_px"]))
        density, square, labels = (self._field(image) for image in (density, square, labels))
        look = {name: drawn[name] for name in ("gradient", "structure", "structure_px")}
        background = draw_background(back_key, drawn["background_photons"], self.shape, **look)
        # The transfer function cut at the grid's own band can undershoot by a little; light cannot.
        light = drawn["photons"] * jnp.maximum(density, 0.0) + background
        return light, _renumbered(labels, self.room), 1.0 - jnp.sqrt(square)

    def sample(self, key: jax.Array, n: int) -> Batch:
        """A batch, inside jit.

        Args:
            key: typed key; the nuclei and the noise take their own stream of it.
            n: pictures.

        Returns:
            "image": (n, H, W, 1) float32 ADU; "labels": (n, H, W) int32, 0 background, 1 to the number of nuclei seen;
            "interior": (n, H, W) float32, 1 in the middle of a nucleus, 0 at its outline and outside.
        """
        light_key, expose_key = jax.random.split(key)
        light, labels, interior = jax.vmap(self.expected_photons)(jax.random.split(light_key, n))
        return {"image": self.camera.expose(expose_key, light)[..., None], "labels": labels, "interior": interior}

    def _form(self, key: jax.Array, radius_px: jax.Array) -> dict[str, jax.Array]:
        """Half axes, angles and light of the nuclei, whether they are there or not."""
        turn_key, form_key = jax.random.split(key)
        size, aspect, light = jnp.clip(noise.normal(form_key, (3, self.room)), -2.0, 2.0)
        size_px, aspect = radius_px * jnp.exp(self.size_spread * size), jnp.exp(0.15 * aspect)
        return {
            "radii": jnp.stack([size_px * aspect, size_px / aspect], axis=-1),
            "angle": math.pi * noise.uniform(turn_key, (self.room,)),
            "light": jnp.exp(self.brightness_spread * light - 0.5 * self.brightness_spread**2),
        }

    def _place(self, key: jax.Array, drawn: dict[str, jax.Array], nuclei: dict[str, jax.Array]) -> jax.Array:
        """(room, 2) middles on the canvas, px; one after the other, each where it comes too close to no earlier one."""
        choice_key, free_key = jax.random.split(key)
        room, shape = self.room, jnp.asarray(self.canvas, jnp.float32)
        choice = noise.uniform(choice_key, (room, _TRIES, 5))
        there = poisson_first(choice[:, 0, 4], drawn["nuclei_per_um2"] * self._area_um2)
        free = noise.uniform(free_key, (room, _TRIES, 2)) * shape - 0.5
        form = quadratic_form(nuclei["radii"], nuclei["angle"])

        def reach(form: jax.Array, step: jax.Array) -> jax.Array:
            """Radii of ellipses in the direction of a step."""
            y, x = jnp.moveaxis(step, -1, 0)
            square = form[0] * y * y + form[1] * y * x + form[2] * x * x
            return jnp.sqrt((y * y + x * x + 1e-12) / (square + 1e-12))

        def add(centre: jax.Array, k: jax.Array) -> tuple[jax.Array, None]:
            # At the side of an earlier nucleus, between just touching and the allowed overlap, or anywhere.
            beside = (choice[k, :, 0] * k).astype(jnp.int32)
            heading = 2.0 * math.pi * choice[k, :, 1]
            step = jnp.stack([jnp.sin(heading), jnp.cos(heading)], axis=-1)
            both = reach(form[:, beside], step) + reach(form[:, k, None], step)
            near = centre[beside] + (1.01 - 0.99 * self.overlap * choice[k, :, 2:3]) * both[:, None] * step
            place = jnp.where((choice[k, :, 3:4] < drawn["touching"]) & (k > 0), near, free[k])
            apart = place[:, None, :] - centre[None, :, :]
            least = (1.0 - self.overlap) * (reach(form[:, None, :], apart) + reach(form[:, k, None, None], apart))
            fits = jnp.all(jnp.sum(apart**2, axis=-1) >= least**2, axis=1)
            fits &= jnp.all((place >= -0.5) & (place < shape - 0.5), axis=1) & there[k]
            chosen = jnp.where(jnp.any(fits), place[jnp.argmax(fits)], _FAR_PX)
            return centre.at[k].set(chosen), None

        return jax.lax.scan(add, jnp.full((room, 2), _FAR_PX), jnp.arange(room))[0]

    def _chromatin(self, key: jax.Array, radius_px: jax.Array, texture: jax.Array) -> jax.Array:
        """(H, W) of the canvas, 1 without texture: fine chromatin, bright chromocentres, dark nucleoli."""
        cells = radius_px * jnp.asarray([0.12, 0.25, 0.42])
        fine, middle, coarse = jax.vmap(lambda k, cell: smooth_noise(k, self.canvas, cell))(
            jax.random.split(key, 3), cells
        )
        chromatin = jnp.exp(texture * (0.4 * fine + 0.45 * middle - 0.2))
        centres = 1.2 * texture * jnp.maximum(middle - 1.25, 0.0)
        nucleoli = 1.0 - 1.5 * texture * jnp.clip(coarse - 0.75, 0.0, 0.6)
        return chromatin * jnp.maximum(nucleoli, 0.0) * (1.0 + centres)

    def _otf(self, blur_px: jax.Array) -> jax.Array:
        return self.optics.otf(self.canvas) * gaussian_otf(self.canvas, sigma_nm=blur_px, pixel_nm=1.0)

    def _field(self, image: jax.Array) -> jax.Array:
        top = left = self.margin_px
        return image[top : top + self.shape[0], left : left + self.shape[1]]


def quadratic_form(radii: jax.Array, angle: jax.Array) -> jax.Array:
    """Ellipses as quadratic forms: yy y^2 + yx y x + xx x^2 is 1 on the outline.

    Args:
        radii: (P, 2) half axes, px.
        angle: (P,) of the first half axis from the x axis, radians.

    Returns:
        (3, P): yy, yx, xx.
    """
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    long, short = 1.0 / radii[:, 0] ** 2, 1.0 / radii[:, 1] ** 2
    return jnp.stack(
        [long * sine**2 + short * cosine**2, 2.0 * (long - short) * sine * cosine, long * cosine**2 + short * sine**2]
    )


def draw_ellipses(nuclei: dict[str, jax.Array], warp: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Light and labels of ellipses that are thicker in the middle, on coordinates that a smooth field bends.

    Args:
        nuclei: "centre" (P, 2) and "radii" (P, 2) px, pixel centres at integers, "angle" (P,), "light" (P,).
        warp: (2, H, W) displacement (y, x), px.

    Returns:
        (H, W) each: the sum of light, about `light` in the middle of each; the squared normalised radius of the nearest
        ellipse, at most 1; its number from 1 on (int32), 0 where no ellipse covers the pixel.
    """
    y = jnp.arange(warp.shape[1], dtype=jnp.float32)[:, None] + warp[0]
    x = jnp.arange(warp.shape[2], dtype=jnp.float32)[None, :] + warp[1]
    form = quadratic_form(nuclei["radii"], nuclei["angle"]).T
    # The rim rises over two pixels or an eighth of the radius, half of it on either side of the outline.
    softness = 0.5 * nuclei["radii"].min(axis=1) / jnp.maximum(0.125 * nuclei["radii"].min(axis=1), 2.0)

    def add(drawn: tuple[jax.Array, ...], one: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, ...], None]:
        total, nearest, labels = drawn
        number, (cy, cx), (yy, yx, xx), softness, light = one
        dy, dx = y - cy, x - cx
        square = dy * (yy * dy + yx * dx) + xx * dx * dx
        cover = jnp.clip(0.5 + softness * (1.0 - square), 0.0, 1.0)
        total += light * cover * (0.45 + 0.55 * jnp.sqrt(jnp.clip(1.0 - square, 1e-6, 1.0)))
        nearer = square < nearest
        return (total, jnp.where(nearer, square, nearest), jnp.where(nearer, number, labels)), None

    start = (jnp.zeros_like(warp[0]), jnp.ones_like(warp[0]), jnp.zeros(warp.shape[1:], jnp.int32))
    number = jnp.arange(1, len(form) + 1, dtype=jnp.int32)
    # A scan over ellipses, each a whole picture: on a CPU several times faster than a sum over the leading axis.
    return jax.lax.scan(add, start, (number, nuclei["centre"], form, softness, nuclei["light"]), unroll=4)[0]


def _renumbered(labels: jax.Array, most: int) -> jax.Array:
    """The same objects, numbered without gaps."""
    seen = jnp.zeros(most + 1, jnp.int32).at[labels.ravel()].set(1).at[0].set(0)
    return jnp.cumsum(seen)[labels]
