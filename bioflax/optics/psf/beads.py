"""A point-spread function measured on a stack of beads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.optics.psf.bead_finding import (
    background_of_planes,
    centroid,
    find_beads,
    reasons_against,
    window,
    window_corners,
)
from bioflax.optics.psf.bead_model import BeadModel, fit_beads, normalised
from bioflax.optics.psf.spline import MARGIN_PX, Measured

_LEAST_PLANES = 5


@dataclasses.dataclass(frozen=True)
class Bead:
    """A bead of the stack; of one that is left out only the place and the reason are known.

    Attributes:
        x_nm, y_nm: place in the image, from the outer corner of the first pixel.
        z_nm: how much higher it lies than the mean of the beads, or the z that was given.
        shift_nm: (x, y, z) of the place from where it was found or given.
        photons: detected light in the window, the mean of the planes that are normalised to 1.
        correlation: of its voxels with those of the fitted spot.
        residual: rms of the difference to the fitted spot, as a share of the bead's brightest voxel in the fit.
        left_out: why it has no part in the spot; empty for a bead that has.
    """

    x_nm: float
    y_nm: float
    z_nm: float = 0.0
    shift_nm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    photons: float = 0.0
    correlation: float = float("nan")
    residual: float = float("nan")
    left_out: str = ""


@dataclasses.dataclass(frozen=True)
class BeadFit:
    """The measured spot, the beads it comes from, and the background of each plane of the stack in photons per pixel."""

    psf: Measured
    beads: tuple[Bead, ...]
    background_photons: np.ndarray

    @property
    def used(self) -> tuple[Bead, ...]:
        """The beads that make the spot."""
        return tuple(bead for bead in self.beads if not bead.left_out)

    @property
    def residual(self) -> float:
        """rms over the used beads' relative residuals."""
        return float(np.sqrt(np.mean([bead.residual**2 for bead in self.used])))


def from_beads(
    stack: Any,
    *,
    pixel_nm: float,
    z_step_nm: float,
    z_first_nm: float | None = None,
    positions_nm: Any = None,
    window_px: int = 25,
    knot_nm: float = 50.0,
    normalise: str = "plane",
    register_z: bool = True,
    min_correlation: float = 0.8,
    saturation_photons: float | None = None,
) -> BeadFit:
    """Measures a point-spread function on beads.

    The background of a plane is the mean of the tenth of its pixels that is farthest from any bead. A cubic spline
    through all beads at their sub-pixel places is fitted by least squares, with planes `knot_nm` apart, which smooths
    along z; places and brightness are refined by turns with it. No bead is resampled. A bead has one place in all
    planes, so a wander of the spot with z is part of the spot.

    The spot's origin sideways is the centroid of its light, summed over z within a third of the window; with
    `positions_nm` it is where those positions are, on average over the beads.

    Args:
        stack: (Z, Y, X) photons, the camera's offset taken off; more planes than the smoothing is best.
        pixel_nm: pixel side in the sample.
        z_step_nm: distance of the planes, positive where z (away from the objective) grows along the stack.
        z_first_nm: z of the stack's first plane; None puts z = 0 into the middle of the stack.
        positions_nm: (B, 2) x, y or (B, 3) x, y, z of the beads, from the outer corner of the first pixel; they are
            refined, but a given z is kept. None finds the beads.
        window_px: side of the spot, odd.
        knot_nm: distance of the planes of the spot.
        normalise: "plane": each plane sums to 1 over the window, which takes out bleaching. "stack": the mean of the
            sharpest fifth of the planes does, so light that changes with z stays in the spot.
        register_z: fit the height of each bead.
        min_correlation: beads that are less like the others are left out.
        saturation_photons: level from which a pixel is full; None looks for pixels that stand at the stack's maximum.

    Returns:
        The spot and what became of each bead.

    Raises:
        InputError: the stack or an option cannot be used, or no bead is left.

    Source: H. P. Babcock and X. Zhuang, Sci. Rep. 7 (2017); Y. Li et al., Nature Methods 15 (2018).
    """
    stack = _checked_stack(stack, window_px)
    _check_options(pixel_nm, z_step_nm, knot_nm, window_px, normalise)
    if z_first_nm is None:
        z_first_nm = -0.5 * (stack.shape[0] - 1) * z_step_nm
    if z_step_nm < 0:
        stack, z_first_nm, z_step_nm = stack[::-1], z_first_nm + (stack.shape[0] - 1) * z_step_nm, -z_step_nm
    if positions_nm is None:
        places, shares = find_beads(stack, window_px)
        heights = None
    else:
        places, heights = _checked_positions(positions_nm, pixel_nm)
        shares = np.ones(len(places))
    reasons = reasons_against(places, shares, stack, window_px, saturation_photons)
    _usable(reasons, window_px)
    background = background_of_planes(stack, places)
    corners = window_corners(places, window_px)
    starts = np.zeros((len(places), 3))
    starts[:, 1:] = places - corners
    if heights is not None:
        starts[:, 0] = heights / z_step_nm
    span_nm = (stack.shape[0] - 1) * z_step_nm
    knot_nm = span_nm / max(round(span_nm / knot_nm), 2)
    while True:
        used = _usable(reasons, window_px)
        cut = np.stack([window(stack, corners[bead], window_px) for bead in used]) - background[:, None, None]
        begin = starts[used]
        if positions_nm is None:
            begin[:, 1:] = [centroid(picture, start) for picture, start in zip(cut.mean(axis=1), begin[:, 1:])]
        model = fit_beads(
            cut,
            background,
            begin,
            planes_per_knot=knot_nm / z_step_nm,
            register_z=register_z and heights is None,
        )
        likeness, misfit = zip(*(_compare(model, place, data) for place, data in enumerate(cut)))
        # One at a time, the worst first: it spoils the spot that the others are compared with.
        worst = int(np.argmin(likeness))
        if likeness[worst] >= min_correlation:
            break
        reasons[used[worst]] = f"unlike the others, correlation {likeness[worst]:.2f} below {min_correlation:g}"
    coefficients, light = normalised(model, cut.shape[2:], each_plane=normalise == "plane")
    origin = np.zeros(2)
    if positions_nm is None:
        picture = coefficients[1:-1, MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX].sum(axis=0)
        origin = centroid(picture, np.full(2, 0.5 * window_px)) - 0.5 * window_px
    middle = 0.5 * (window_px - 1) + MARGIN_PX
    spot = Measured(
        coefficients=coefficients.astype(np.float32),
        pixel_nm=pixel_nm,
        z_step_nm=knot_nm,
        z_first_nm=z_first_nm,
        centre_x_px=middle + origin[1],
        centre_y_px=middle + origin[0],
    )
    beads = [Bead(x * pixel_nm, y * pixel_nm, left_out=reason) for (y, x), reason in zip(places, reasons)]
    for place, bead in enumerate(used):
        y_nm, x_nm = (model.at_px[place, 1:] + corners[bead] + origin) * pixel_nm
        z_nm = model.at_px[place, 0] * z_step_nm
        shift_nm = (x_nm - beads[bead].x_nm, y_nm - beads[bead].y_nm, z_nm - begin[place, 0] * z_step_nm)
        beads[bead] = Bead(
            x_nm=float(x_nm),
            y_nm=float(y_nm),
            z_nm=float(z_nm),
            shift_nm=tuple(float(part) for part in shift_nm),
            photons=float(model.photons[place] * light.mean()),
            correlation=likeness[place],
            residual=misfit[place],
        )
    return BeadFit(spot, tuple(beads), background)


def _checked_stack(stack: Any, window_px: int) -> np.ndarray:
    stack = np.asarray(stack)
    if stack.ndim != 3 or stack.dtype.kind not in "iuf":
        raise InputError(
            f"stack: expected photons (Z, Y, X), found shape {stack.shape} of {stack.dtype}; give one stack"
        )
    if stack.shape[0] < _LEAST_PLANES:
        raise InputError(
            f"stack: expected at least {_LEAST_PLANES} planes, found {stack.shape[0]}; take a stack through the focus"
        )
    if min(stack.shape[1:]) < window_px:
        raise InputError(
            f"window_px: expected at most the image's side {min(stack.shape[1:])}, found {window_px}; use a smaller window"
        )
    stack = stack.astype(np.float64)
    if not np.isfinite(stack).all():
        lost = int((~np.isfinite(stack)).sum())
        raise InputError(f"stack: expected finite photons, found {lost} values that are not; mend or crop the stack")
    if stack.mean() < 0:
        raise InputError(
            f"stack: expected photons, found a mean of {stack.mean():.3g}; subtract the camera's own offset, not more"
        )
    return stack


def _check_options(pixel_nm: float, z_step_nm: float, knot_nm: float, window_px: int, normalise: str) -> None:
    for name, value in (("pixel_nm", pixel_nm), ("knot_nm", knot_nm)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name}: expected a length above 0 nm, found {value}; give it in nm")
    if not (np.isfinite(z_step_nm) and z_step_nm != 0):
        raise InputError(f"z_step_nm: expected the distance of the planes, not 0, found {z_step_nm}; give it in nm")
    if window_px < 5 or window_px % 2 == 0:
        raise InputError(f"window_px: expected an odd number of at least 5, found {window_px}; 25 suits 100 nm pixels")
    if normalise not in ("plane", "stack"):
        raise InputError(f"normalise: expected plane or stack, found {normalise!r}. Choose one of these.")


def _checked_positions(positions_nm: Any, pixel_nm: float) -> tuple[np.ndarray, np.ndarray | None]:
    """(B, 2) y, x in px and the given heights in nm."""
    table = np.asarray(positions_nm, np.float64)
    if table.ndim != 2 or table.shape[1] not in (2, 3) or len(table) == 0 or not np.isfinite(table).all():
        raise InputError(f"positions_nm: expected finite (B, 2) x, y or (B, 3) x, y, z, found shape {table.shape}")
    return table[:, 1::-1] / pixel_nm, table[:, 2] if table.shape[1] == 3 else None


def _compare(model: BeadModel, bead: int, stack: np.ndarray) -> tuple[float, float]:
    """Correlation of a bead with the fit, and the rms difference as a share of the fit's maximum."""
    fit, seen = model.render(bead, stack.shape), model.covered(bead, stack.shape[0])
    fit, stack = fit[seen], stack[seen]
    rms = float(np.sqrt(np.mean((stack - fit) ** 2)))
    return float(np.corrcoef(stack.ravel(), fit.ravel())[0, 1]), rms / max(float(fit.max()), 1e-12)


def _usable(reasons: Sequence[str], window_px: int) -> list[int]:
    used = [bead for bead, reason in enumerate(reasons) if not reason]
    if not used:
        kinds = [reason.split(",")[0] for reason in reasons]
        tally = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)) or "none in sight"
        raise InputError(
            f"stack: expected at least one usable bead, found {tally}; give positions_nm, "
            f"a window_px other than {window_px} or another stack"
        )
    return used
