"""Blurred, binned, noisy pictures of fine structure, and what a sharper microscope would have seen on a finer grid."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.illumination import Illumination
from bioflax.optics.imaging import Imaging, check_upscale, repeat
from bioflax.optics.psf import WidefieldOptics, widefield_otf
from bioflax.optics.psf import blur as blur_by
from bioflax.optics.quantities import part, physical, quantity
from bioflax.simulate.degrade import background, bin_pixels, blur, chain, crop, illuminate, light
from bioflax.simulate.scenes import Filaments, Scene
from bioflax.simulate.spans import Span, check_camera_maps, check_count, draw_spans, field_size
from bioflax.typing import Batch

_LIGHT = "photons per camera pixel and frame"


@physical
class Magnified:
    """Pairs for super-resolution, from physics; a `DeviceSource` and a pytree whose physical fields are leaves.

    The scene is drawn on the fine grid, `margin` camera pixels beyond each border, so light from outside enters. The
    picture has gone through stripes (if any), optics, camera pixels and camera; the target through optics of
    `sharpness` times the cut-off, in focus and without haze. Both hold the same light and the same background.

    Args:
        scene: what is under the microscope.
        optics: objective; its `pixel_nm` is that of the camera.
        camera: from photons to counts.
        illumination: stripes of structured illumination; None for even light and one frame.
        photons: of the blurred picture where its density is 1; a pair draws one per picture, evenly in the logarithm.
        background_photons: added everywhere, picture and target; a pair draws evenly.
        sharpness: cut-off of the target over that of the optics. With a large one, such as 1,000, the target is
            the object on the fine grid itself, which `imaging` maps onto the picture exactly.
        blur_scale: factor on the wavelength, and so on the width of the blur, but not on the target's; a pair draws
            one per picture, so that a net learns a range of optics.
        period_scale: factor on the period of the stripes; a pair draws one per picture.
        upscale: fine pixels along a camera pixel.
        size: camera pixels a side, or (H, W).
        margin: camera pixels.
        random_phase: draw the phase of the stripes for each picture and direction; else those of `illumination`.
    """

    scene: Scene = part(Filaments())
    optics: WidefieldOptics = part(WidefieldOptics())
    camera: SCMOS | EMCCD = part(SCMOS())
    illumination: Illumination | None = part(None)
    photons: Span = quantity(_LIGHT, kind="span", above=0.0, default=(30.0, 300.0))
    background_photons: Span = quantity(_LIGHT, kind="span", at_least=0.0, default=(2.0, 10.0))
    sharpness: float = quantity("times the cut-off", at_least=1.0, default=2.0)
    blur_scale: Span = quantity("times the wavelength", kind="span", above=0.0, default=1.0)
    period_scale: Span = quantity("times the period", kind="span", above=0.0, default=1.0)
    upscale: int = 2
    size: int | tuple[int, int] = 48
    margin: int = 12
    random_phase: bool = True

    def _check_together(self) -> None:
        check_upscale("Magnified.upscale", self.upscale)
        check_count("Magnified.margin", self.margin, 0)
        if self.illumination is not None and not isinstance(self.illumination, Illumination):
            raise InputError(
                f"Magnified.illumination: expected null or stripes (_target_: bioflax.optics.illumination.Illumination), found "
                f"{self.illumination!r}; take simulator=magnified_frames or experiment=super_resolve_frames"
            )
        object.__setattr__(self, "size", field_size("Magnified.size", self.size, (2,)))
        check_camera_maps("Magnified.camera", self.camera, self.shape)
        object.__setattr__(self, "scene", self.scene.with_room(self.canvas, self.fine_pixel_nm))

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the pictures in camera pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def canvas(self) -> tuple[int, int]:
        """(H, W) of the drawn scene in fine pixels, margins included."""
        height, width = self.shape
        return self.upscale * (height + 2 * self.margin), self.upscale * (width + 2 * self.margin)

    @property
    def fine_pixel_nm(self) -> jax.Array:
        """Pixel side of the target."""
        return self.optics.pixel_nm / self.upscale

    @property
    def channels(self) -> int:
        """Frames of a picture: the channels of a model's input."""
        return 1 if self.illumination is None else self.illumination.frames

    @property
    def imaging(self) -> Imaging:
        """From the object on the fine grid to the mean frame, without background and at `blur_scale` 1."""
        return Imaging(self.optics, self.upscale)

    def expected(self, key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
        """Pictures and targets without noise.

        Args:
            key: typed key.
            n: how many.

        Returns:
            (n, H, W, channels) and (n, s H, s W) float32, expected photons per camera pixel's area and frame.
        """
        coarse, fine = jax.vmap(self._picture)(jax.random.split(key, n))
        return jnp.moveaxis(coarse, 1, -1), fine

    def sample(self, key: jax.Array, n: int) -> Batch:
        """A batch, inside jit.

        Args:
            key: typed key; pictures and noise take their own stream of it.
            n: pictures.

        Returns:
            "image": (n, H, W, channels) float32 ADU; "target": (n, s H, s W, 1) float32, the counts that the camera
            would expect of the sharp picture, ADU.
        """
        picture_key, camera_key = jax.random.split(key)
        coarse, fine = jax.vmap(self._picture)(jax.random.split(picture_key, n))
        counts = self.camera.expose(camera_key, coarse)
        fine_camera = jax.tree.map(lambda leaf: repeat(leaf, self.upscale) if jnp.ndim(leaf) else leaf, self.camera)
        return {"image": jnp.moveaxis(counts, 1, -1), "target": fine_camera.expected(fine)[..., None]}

    def _picture(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(channels, H, W) and (s H, s W) expected photons of one picture."""
        scene_key, values_key, phase_key, unused_key = jax.random.split(key, 4)
        names = ("photons", "background_photons", "blur_scale", "period_scale")
        drawn = draw_spans(values_key, self, names, logarithmic=("photons",))
        density = self.scene(scene_key, self.canvas, self.fine_pixel_nm)
        optics = dataclasses.replace(self.optics, wavelength_nm=self.optics.wavelength_nm * drawn["blur_scale"])
        imaging, margin_px = Imaging(optics, self.upscale), self.upscale * self.margin
        stripes = self._stripes(phase_key, drawn["period_scale"], margin_px)
        expose = chain(*stripes, blur(imaging), crop(margin_px), bin_pixels(self.upscale))
        sharp = chain(self._sharpen, crop(margin_px))
        finish = chain(_no_negative, light(drawn["photons"]), background(drawn["background_photons"]))
        coarse = finish(unused_key, expose(unused_key, density))
        return coarse if stripes else coarse[None], finish(unused_key, sharp(unused_key, density))

    def _stripes(self, key: jax.Array, period_scale: jax.Array, margin_px: int) -> tuple:
        if self.illumination is None:
            return ()
        change = {"period_nm": self.illumination.period_nm * period_scale}
        if self.random_phase:
            # The wider stripes of 3-D SIM have half the phase: two turns of it are one of theirs.
            phases = noise.uniform(key, (self.illumination.angles,))
            change["phase_deg"] = 720.0 * phases.reshape(jnp.shape(self.illumination.angle_deg))
        illumination = dataclasses.replace(self.illumination, **change)
        return (illuminate(illumination, self.fine_pixel_nm, before_px=margin_px),)

    def _sharpen(self, _: jax.Array, density: jax.Array) -> jax.Array:
        """What the target's microscope sees: (..., H, W) on the fine grid."""
        sharp_nm = self.optics.wavelength_nm / self.sharpness
        lens = {"na": self.optics.na, "wavelength_nm": sharp_nm, "pixel_nm": self.fine_pixel_nm}
        return blur_by(density, widefield_otf(density.shape[-2:], **lens))


def _no_negative(_: jax.Array, image: jax.Array) -> jax.Array:
    """A transfer function that is cut at the grid's own band can undershoot by a little; light cannot."""
    return jnp.maximum(image, 0.0)
