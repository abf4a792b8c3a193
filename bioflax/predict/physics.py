"""How the pictures of a super-resolving model come about: from its card, and from what the user knows better."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.illumination import measured_reach_per_nm
from bioflax.optics.imaging import Imaging, bin_mean
from bioflax.optics.psf.widefield import WidefieldOptics, blur, widefield_otf

OPTICS = ("na", "wavelength_nm", "refractive_index", "defocus_nm", "haze", "haze_nm")
UNKNOWN = "the spread of the picture"
WIDTHS = 5
BEYOND, LEAST_BEYOND = 1.03, 0.05  # of the cut-off; share of the camera's frequencies
EVEN = 1.5
FLOOR = 1e-3  # of a transfer function that is divided by


@dataclass(frozen=True)
class Physics:
    """What turns a result on the fine grid into the picture that the camera took.

    Attributes:
        imaging: optics, camera pixel and upscale.
        reach_per_nm: up to which frequency all directions were measured, cycles per nm: the cut-off of the optics; with structured
            illumination more (`optics.illumination.measured_reach_per_nm`).
        sharpness: the model's targets are objects as a microscope with this many times the cut-off sees them; None: the object.
        camera: from photons to counts, or None where it is not known.
        frames: raw pictures of one field; their mean is the wide-field picture.
        same_unit: the result is in the unit of the raw picture; else gain and offset are fitted first.
        blur_scales: range of the factor on the wavelength that the model was trained for; within it the width of the spot is
            fitted to each picture.
        noise_std: of a camera pixel, where noise is white and no camera stands behind it.
        trained_pixel_nm: side of the camera pixels that the model was trained with, where its card says.
    """

    imaging: Imaging
    reach_per_nm: float
    sharpness: float | None = None
    camera: Any = None
    frames: int = 1
    same_unit: bool = True
    blur_scales: tuple[float, float] = (1.0, 1.0)
    noise_std: float | None = None
    trained_pixel_nm: float | None = None

    @property
    def upscale(self) -> int:
        """Fine pixels along a camera pixel."""
        return self.imaging.upscale

    @property
    def fine_nm(self) -> float:
        """Side of a fine pixel, nm."""
        return float(self.imaging.optics.pixel_nm) / self.upscale

    @property
    def reach_per_px(self) -> float:
        """`reach_per_nm` in cycles per fine pixel."""
        return self.reach_per_nm * self.fine_nm

    @property
    def band_upscale(self) -> int:
        """What the camera's own pixels cut off the measured band; of raw frames `reach_per_nm` has it in it already."""
        return self.upscale if self.frames == 1 else 1

    @property
    def widths(self) -> tuple[float, ...]:
        """Factors on the wavelength that are tried on a picture."""
        low, high = self.blur_scales
        return (low,) if low == high else tuple(np.linspace(low, high, WIDTHS).tolist())

    def through_optics(self, fine: np.ndarray, blur_scale: float = 1.0, mirror_px: int = 32) -> np.ndarray:
        """A result (sH, sW) as the camera would have seen it: (H, W), in the unit of the result.

        `blur_scale` is a factor on the wavelength, and so on the width of the spot.
        """
        otf = self.from_target(tuple(side + 2 * mirror_px for side in fine.shape), blur_scale)
        return np.asarray(bin_mean(np.asarray(blur(jnp.asarray(fine), jnp.asarray(otf))), self.upscale))

    def from_target(self, shape: tuple[int, int], blur_scale: float = 1.0) -> np.ndarray:
        """Transfer function from what the targets show to what the optics pass, (H, W) fine pixels, FFT layout."""
        seen = dataclasses.replace(self.imaging.optics, wavelength_nm=self.imaging.optics.wavelength_nm * blur_scale)
        otf = np.asarray(Imaging(seen, self.upscale).otf(shape), np.float64)
        if self.sharpness is not None:  # what the target lost already is not taken away twice
            optics = self.imaging.fine_optics
            shown = widefield_otf(
                shape, na=optics.na, wavelength_nm=optics.wavelength_nm / self.sharpness, pixel_nm=optics.pixel_nm
            )
            shown = np.asarray(shown, np.float64)
            otf = np.where(shown > FLOOR, otf / np.maximum(shown, FLOOR), 0.0)
        return otf

    def saturated(self, raw: np.ndarray) -> np.ndarray:
        """Which pixels of raw counts (H, W[, frames]) are as bright as the camera counts, in any frame: bool (H, W)."""
        bits = getattr(self.camera, "bits", None)
        full = raw >= 2**bits - 1 if bits else np.zeros(raw.shape, bool)
        return full.any(-1) if full.ndim == 3 else full

    def variance(self, expected: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, str]:
        """Noise variance of a raw picture (H, W), the mean of the frames, at its expected counts; and where it comes from."""
        if self.noise_std is not None:
            return np.full(raw.shape, self.noise_std**2 / self.frames), "the simulation"
        if self.camera is not None:
            photons = jnp.maximum(self.camera.to_photons(jnp.asarray(expected)), 0.0)
            return (np.asarray(self.camera.variance(photons), np.float64) + 1 / 12) / self.frames, "the camera"
        from bioflax.preflight.noise import from_single

        raw = np.asarray(raw, np.float64)
        noise = from_single(raw[None])
        if noise is None or not np.median(noise.variances) > 0:  # too small, or even in most places
            return np.full(raw.shape, max(float(np.var(raw)), 1e-12)), UNKNOWN
        variance = noise.variance(expected)
        beyond = white_beyond(raw, float(self.imaging.cutoff_per_px) * self.upscale)
        if beyond is None:  # what the scene has of fine structure counts as noise, so chi-square comes out low
            return variance, "the picture itself"
        return variance * (beyond / float(variance.mean())), "the picture beyond the cut-off"


def white_beyond(picture: np.ndarray, cutoff_per_px: float) -> float | None:
    """Mean variance of the noise, from the frequencies that the optics do not pass: nothing but noise is there.

    None where the camera's grid has too few of them, or where their power is not even: the picture was smoothed, enlarged or
    compressed, and its noise is not white any more.

    Args:
        picture: (H, W) counts.
        cutoff_per_px: of the optics, cycles per camera pixel.
    """
    taper = np.hanning(picture.shape[0] + 2)[1:-1, None] * np.hanning(picture.shape[1] + 2)[None, 1:-1]
    power = np.abs(np.fft.fft2((picture - picture.mean()) * taper)) ** 2 / np.sum(taper**2)
    radius = np.hypot(np.fft.fftfreq(picture.shape[0])[:, None], np.fft.fftfreq(picture.shape[1])[None, :])
    outside = radius > BEYOND * cutoff_per_px
    if outside.mean() < LEAST_BEYOND:
        return None
    middle = np.median(radius[outside])
    near, far = (float(power[outside & part].mean()) for part in (radius <= middle, radius > middle))
    return 0.5 * (near + far) if max(near, far) < EVEN * min(near, far) else None


def physics_of(
    model: Any,
    *,
    na: float | None = None,
    wavelength_nm: float | None = None,
    pixel_nm: float | None = None,
    period_nm: float | None = None,
    camera: Any = None,
) -> Physics:
    """The physics of a model's pictures.

    Args:
        model: a loaded super-resolving model; its card has what it was trained with.
        na, wavelength_nm, pixel_nm: of the microscope and the camera, where they differ from the card or are not in it.
        period_nm: of the finest stripes of raw frames, three evenly spread directions, where the card has none.
        camera: as `optics.camera`; None takes that of the card.

    Raises:
        InputError: the card does not hold what is needed, and it was not given.
    """
    found = dict(getattr(model.card, "physics", {}) or {})
    given = {"na": na, "wavelength_nm": wavelength_nm, "pixel_nm": pixel_nm}
    optics = {name: value if value is not None else found.get(name) for name, value in given.items()}
    missing = [name for name, value in optics.items() if value is None]
    if missing:
        raise InputError(
            f"honesty: what was measured and what is prior needs the optics; missing: {', '.join(missing)}, neither in the "
            f"model's card nor given. Give {' '.join(f'optics.{name}=...' for name in missing)}."
        )
    if period_nm is not None:
        found["illumination"] = {**(found.get("illumination") or {}), "period_nm": period_nm}
    if int(found.get("frames") or 1) > 1 and not found.get("illumination"):
        raise InputError(
            "honesty: raw frames measure more than the optics alone, and the model's card does not say by how much. Give the "
            "period of the stripes: optics.period_nm=..."
        )
    optics |= {name: found[name] for name in OPTICS if name not in optics and found.get(name) is not None}
    microscope = WidefieldOptics(**optics)
    widths = found.get("blur_scale") or 1.0
    return Physics(
        imaging=Imaging(microscope, model.upscale),
        reach_per_nm=reach_of({**found, **optics}),
        sharpness=found.get("sharpness"),
        camera=camera if camera is not None else camera_of(found.get("camera")),
        noise_std=None if camera is not None else found.get("noise_std"),
        frames=int(found.get("frames") or 1),
        trained_pixel_nm=found.get("pixel_nm"),
        same_unit=found.get("units", "input") == "input",
        blur_scales=(float(widths[0]), float(widths[1])) if isinstance(widths, list) else (float(widths),) * 2,
    )


def reach_of(physics: dict[str, Any]) -> float:
    """Up to which frequency all directions were measured, cycles per nm, from the plain numbers of a card."""
    cutoff = 2.0 * physics["na"] / physics["wavelength_nm"]
    stripes = physics.get("illumination")
    if not stripes:
        return cutoff
    # Each order of the stripes is folded by the camera before it is put where it belongs.
    seen = min(cutoff, 0.5 / physics["pixel_nm"])
    return measured_reach_per_nm(seen, stripes["period_nm"], stripes.get("angle_deg") or (0.0, 60.0, 120.0))


def camera_of(found: Any) -> Any:
    """A camera from the plain numbers of a card; None where there is none, or where it had maps."""
    if not isinstance(found, dict) or any(isinstance(value, str) for name, value in found.items() if name != "kind"):
        return None
    kind = {"SCMOS": SCMOS, "EMCCD": EMCCD}.get(str(found.get("kind")))
    return None if kind is None else kind(**{name: value for name, value in found.items() if name != "kind"})
