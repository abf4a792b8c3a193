"""Classical reconstruction of structured illumination microscopy by a generalised Wiener filter."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.baselines.deconvolve import border_px
from bioflax.errors import InputError
from bioflax.optics.illumination import Illumination
from bioflax.optics.imaging import Imaging
from bioflax.optics.psf.widefield import WidefieldOptics, blur, radial_frequency

SLOW = 0.3  # of the cut-off: where light out of focus rules
_OTF_NODES = 2048


def widefield(frames: Any) -> np.ndarray:
    """The picture without stripes, the mean of the frames: (frames, H, W) -> (H, W) float32."""
    return checked_frames(frames).mean(0)


def reconstruct(
    frames: Any,
    illumination: Illumination,
    optics: WidefieldOptics,
    *,
    upscale: int = 2,
    balance: float = 0.01,
    apodise: bool = True,
    sectioning: float = 0.0,
    offset: float = 0.0,
) -> np.ndarray:
    """Puts the orders of the stripes back to where they belong in the spectrum.

    Each order n of a direction shows the spectrum of the object shifted by n wave vectors. All are filtered by the
    conjugate transfer function, shifted back and added, which is the same as adding (stripes of the frame) x (frame
    through the transposed optics) over the frames; then divided by the sum of |share H|^2 over the orders plus the balance.

    Args:
        frames: (frames, H, W) camera pixels, direction by direction as in `Illumination`, any unit.
        illumination: the stripes; see `estimate_illumination`.
        optics: objective and camera pixel.
        upscale: fine pixels along a camera pixel: 2 holds the doubled band; 1 where frames came enlarged.
        balance: w^2, noise over signal: what is added to a sum that is about 1 at zero frequency.
        apodise: fade out frequencies as a cosine to the end of the extended band, against ringing.
        sectioning: how far slow frequencies of each order give way to the other orders, which carry no light from out
            of focus: 0 for thin samples, 0.9 to 0.99 for thick ones.
        offset: of the camera, same unit; taken off and added back.

    Returns:
        (s H, s W) float32, same unit: its mean is that of the wide-field picture, light that sectioning removes spread evenly.
        Negative overshoots are left in.

    Raises:
        InputError: frames that do not fit the illumination, a balance that is not positive.

    Source: M. G. L. Gustafsson, J. Microscopy 198 (2000); M. G. L. Gustafsson et al., Biophysical J. 94 (2008).
    """
    frames = checked_frames(frames)
    if len(frames) != illumination.frames:
        raise InputError(
            f"frames: expected {illumination.frames}, {illumination.angles} directions of {illumination.phases} phases, "
            f"found {len(frames)}; give all frames of one plane"
        )
    if not (np.isfinite(balance) and balance > 0):
        raise InputError(f"balance: expected a positive number, found {balance}; use 0.01")
    if not 0 <= sectioning < 1:
        raise InputError(
            f"sectioning: expected from 0 to below 1, found {sectioning}; use 0, or 0.95 for thick samples"
        )
    imaging = Imaging(optics, upscale)
    light = frames - np.float32(offset)
    fine = np.asarray(_reconstruct(light, illumination, imaging, balance, sectioning, apodise, border_px(imaging)))
    return fine + np.float32(offset)


@partial(jax.jit, static_argnames="mirror_px")
def _reconstruct(
    frames: jax.Array,
    illumination: Illumination,
    imaging: Imaging,
    balance: jax.Array,
    sectioning: jax.Array,
    apodise: jax.Array,
    mirror_px: int,
) -> jax.Array:
    s, margin = imaging.upscale, mirror_px // imaging.upscale
    mean = jnp.mean(frames)
    # A direction's stripes add up to even light: what differs between directions is the brightness of the lamp
    lamp = frames.reshape(illumination.angles, -1).mean(1).repeat(illumination.phases)
    frames = frames * (mean / lamp)[:, None, None]
    framed = jnp.pad(frames, ((0, 0), (margin, margin), (margin, margin)), mode="symmetric")
    slow = radial_frequency(framed.shape[1:]) / (imaging.optics.cutoff_per_nm * imaging.optics.pixel_nm)
    framed = blur(framed, _kept(slow, sectioning))
    shape = (framed.shape[1] * s, framed.shape[2] * s)
    pixel_nm = imaging.optics.pixel_nm / s
    stripes = illumination.patterns(shape, pixel_nm, before_px=mirror_px)
    gathered = jnp.fft.fft2(jnp.mean(stripes * imaging.adjoint(framed), axis=0))
    y_per_nm, x_per_nm = (jnp.fft.fftfreq(size) / pixel_nm for size in shape)
    seen = _passed(illumination, imaging, sectioning, y_per_nm[:, None], x_per_nm[None, :])
    spectrum = gathered / (seen + balance)
    share = jnp.hypot(y_per_nm[:, None], x_per_nm[None, :]) / illumination.band_per_nm(imaging.optics)
    spectrum *= jnp.where(apodise, jnp.cos(0.5 * jnp.pi * jnp.minimum(share, 1.0)), 1.0)
    fine = jnp.fft.ifft2(spectrum).real[mirror_px : shape[0] - mirror_px, mirror_px : shape[1] - mirror_px]
    return fine + (mean - jnp.mean(fine))


def _kept(share: jax.Array, sectioning: jax.Array) -> jax.Array:
    """Weight of frequencies, as a share of the cut-off from the middle of their order."""
    return 1.0 - sectioning * jnp.exp(-0.5 * (share / SLOW) ** 2)


def _passed(
    illumination: Illumination, imaging: Imaging, sectioning: jax.Array, y_per_nm: jax.Array, x_per_nm: jax.Array
) -> jax.Array:
    """Weighted sum over the orders of |share of the order x transfer function there|^2, mean over directions: (H, W)."""

    def power(y: jax.Array, x: jax.Array) -> jax.Array:
        return _kept(jnp.hypot(y, x) / imaging.optics.cutoff_per_nm, sectioning) * _through(imaging, y, x) ** 2

    passed = power(y_per_nm, x_per_nm)
    orders = ((1.0, illumination.modulation), (0.5, illumination.half_modulation))
    angles = (illumination.angles,)
    angle, period = (jnp.broadcast_to(jnp.asarray(v), angles) for v in (illumination.angle_deg, illumination.period_nm))
    for part, depth in orders[: illumination.phases // 2]:
        share = 0.5 * jnp.broadcast_to(jnp.asarray(depth), angles)
        for i in range(illumination.angles):
            wave = part / period[i] * jnp.stack([jnp.sin(jnp.deg2rad(angle[i])), jnp.cos(jnp.deg2rad(angle[i]))])
            for sign in (-1.0, 1.0):
                passed += (
                    share[i] ** 2 / illumination.angles * power(y_per_nm + sign * wave[0], x_per_nm + sign * wave[1])
                )
    return passed


def _through(imaging: Imaging, y_per_nm: jax.Array, x_per_nm: jax.Array) -> jax.Array:
    """Transfer function of optics and camera pixel at any frequencies."""
    optics, s = imaging.optics, imaging.upscale
    # The optics are the same in all directions: a line of finely spaced frequencies tells all of them
    line = imaging.fine_optics.otf((1, 2 * _OTF_NODES))[0, :_OTF_NODES]
    step_per_nm = s / (2 * _OTF_NODES * optics.pixel_nm)
    nodes = jnp.arange(_OTF_NODES) * step_per_nm
    lens = jnp.interp(jnp.hypot(y_per_nm, x_per_nm), nodes, line, right=0.0)
    centre = (jnp.arange(s) + 0.5) / s - 0.5
    for frequency in (y_per_nm, x_per_nm):
        lens *= jnp.mean(jnp.cos(2 * jnp.pi * optics.pixel_nm * frequency[..., None] * centre), -1)
    return lens


def checked_frames(frames: Any) -> np.ndarray:
    """The frames as float32; raises an InputError unless they are (frames, H, W) and finite."""
    frames = np.asarray(frames, np.float32)
    if frames.ndim != 3 or 0 in frames.shape:
        raise InputError(f"frames: expected (frames, H, W), found shape {frames.shape}; give one plane of one channel")
    if not np.isfinite(frames).all():
        raise InputError("frames: expected finite values, found NaN or infinite; replace them first")
    return frames
