"""The classical localizer: spots found, fitted by maximum likelihood, and judged; frames in, a table's columns out."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from scipy.spatial import cKDTree

from bioflax.baselines.mle import fit_windows
from bioflax.baselines.spots import Spots, find_spots, match_spots, spot_width_px, views
from bioflax.errors import InputError
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.likelihood import Sensor, sensor, to_electrons
from bioflax.optics.psf.interface import EmitterPSF

LEAST_WIDTH_PX = 0.41  # of all the light in one pixel it is 0.399
DETECTORS = ("gaussian", "matched")
COLUMNS = ("x_nm", "y_nm", "z_nm", "photons", "background_photons")


def localize(
    frames_adu: np.ndarray,
    psf: EmitterPSF,
    camera: SCMOS | EMCCD | None,
    *,
    threshold: float = 5.0,
    window_px: int | None = None,
    z_range_nm: tuple[float, float] = (-600.0, 600.0),
    first_frame: int = 1,
    detector: str = "gaussian",
) -> dict[str, np.ndarray]:
    """Localizes the emitters of frames.

    Args:
        frames_adu: (T, H, W) counts; photons where there is no camera.
        psf: the spot, with its pixel size.
        camera: maps must have the frames' size.
        threshold: least signal to noise of a spot.
        window_px: side of the fitted windows, odd; None takes seven widths of the spot, at least 7.
        z_range_nm: of the fits; of no effect for a spot that does not know z.
        first_frame: number of the first frame.
        detector: `gaussian` (difference of Gaussians), or `matched`: correlation with the spot at its depths, for spots
            of several lobes such as tetrapods.

    Returns:
        Columns of equal length: frame, x_nm, y_nm (from the outer corner of the first pixel), z_nm where the spot tells it,
        photons, background_photons; their Cramer-Rao bounds as sigma_x_nm .., those of the position as crlb_x_nm .. too;
        snr, chi_square.

    Raises:
        InputError: frames, maps or settings that do not fit.
    """
    frames_adu = np.asarray(frames_adu, np.float32)
    if frames_adu.ndim != 3:
        raise InputError(f"frames: expected (T, H, W), found shape {frames_adu.shape}.")
    check_maps(camera, frames_adu.shape[1:])
    settings = {
        "threshold": threshold,
        "window_px": window_px,
        "z_range_nm": z_range_nm,
        "first_frame": first_frame,
        "detector": detector,
    }
    return localize_electrons(np.asarray(to_electrons(camera, frames_adu)), sensor(camera), psf, **settings)


def localize_electrons(
    electrons: np.ndarray,
    sensor_: Sensor,
    psf: EmitterPSF,
    *,
    threshold: float = 5.0,
    window_px: int | None = None,
    z_range_nm: tuple[float, float] = (-600.0, 600.0),
    first_frame: int = 1,
    detector: str = "gaussian",
) -> dict[str, np.ndarray]:
    """As `localize`, from photoelectrons (T, H, W) and their sensor."""
    if not z_range_nm[0] < z_range_nm[1]:
        raise InputError(f"z_range_nm: expected a least and a largest depth, found {z_range_nm}.")
    if detector not in DETECTORS:
        raise InputError(f"detector: {detector!r} is not known. Take one of: {', '.join(DETECTORS)}.")
    size = electrons.shape[1:]
    # A spot that changes across the field is as wide as on average, and knows depth where any place of it does.
    deep = any(_knows_depth(view) for view in views(psf, size, 11))
    depths = z_range_nm if deep else (0.0, 0.0)
    width_px = float(np.mean([spot_width_px(view, depths) for view in views(psf, size, 41)]))
    if width_px < LEAST_WIDTH_PX:
        raise InputError(
            "psf: expected a spot that covers more than one pixel, found one that tells no position within it. "
            "Check its width and data.pixel_nm."
        )
    side = window_px or max(7, 2 * round(3.5 * width_px) + 1)
    if side % 2 == 0 or side < 5 or side > min(electrons.shape[1:]):
        raise InputError(
            f"window_px: expected an odd number from 5 to the {min(electrons.shape[1:])} px of a frame, found {side}."
        )
    if detector == "matched":
        spots = match_spots(electrons, sensor_, psf, side, z_range_nm, threshold=threshold, depths=17 if deep else 1)
    else:
        spots = find_spots(electrons, sensor_, width_px, threshold=threshold)
    return fit_spots(electrons, sensor_, psf, spots, side, z_range_nm, first_frame)


def fit_spots(
    electrons: np.ndarray,
    sensor_: Sensor,
    psf: EmitterPSF,
    spots: Spots,
    side: int,
    z_range_nm: tuple[float, float],
    first_frame: int,
) -> dict[str, np.ndarray]:
    """Fits the windows around spots and keeps one fit for each emitter."""
    pixel_nm, (height, width) = float(psf.pixel_nm), electrons.shape[1:]
    # Windows at the border are moved inwards; the emitter then lies off their middle.
    top = np.clip(spots.row - side // 2, 0, height - side)
    left = np.clip(spots.column - side // 2, 0, width - side)
    rows, columns = top[:, None] + np.arange(side), left[:, None] + np.arange(side)
    windows = electrons[spots.frame[:, None, None], rows[:, :, None], columns[:, None, :]]

    def cut(leaf: Any) -> Any:
        return np.asarray(leaf)[rows[:, :, None], columns[:, None, :]] if np.ndim(leaf) == 2 else leaf

    start = np.stack([spots.x_px - left, spots.y_px - top], -1) * pixel_nm
    corner = np.stack([left, top], -1) * pixel_nm
    fits = fit_windows(
        psf, jax.tree.map(cut, sensor_), windows, start_nm=start, corner_nm=corner, z_range_nm=z_range_nm
    )
    values, deviations = np.array(fits.values, np.float64), np.array(fits.deviations, np.float64)
    values[:, 0] += left * pixel_nm
    values[:, 1] += top * pixel_nm
    moved = np.hypot(values[:, 0] / pixel_nm - spots.x_px, values[:, 1] / pixel_nm - spots.y_px)
    # A fit that ran to a neighbour, or whose light is not certain, is none of this spot.
    good = fits.converged & (moved < side / 4) & (values[:, 3] > 3.0 * deviations[:, 3])
    good &= np.isfinite(deviations[:, :2]).all(1)
    good &= keep_one(spots.frame, values[:, :2], fits.chi_square, good, pixel_nm)
    known = [name for i, name in enumerate(COLUMNS) if len(values) == 0 or not np.isinf(deviations[:, i]).all()]
    table = {"frame": (spots.frame[good] + first_frame).astype(np.int64)}
    for i, name in enumerate(COLUMNS):
        if name in known and (name != "z_nm" or len(values)):
            table[name] = values[good, i]
    for i, name in enumerate(COLUMNS):
        if name in table:
            table[f"sigma_{name}"] = deviations[good, i]
    for axis in ("x_nm", "y_nm", "z_nm"):  # of a fit by maximum likelihood both are the bound at the fit
        if axis in table:
            table[f"crlb_{axis}"] = table[f"sigma_{axis}"]
    return {**table, "snr": spots.snr[good].astype(np.float64), "chi_square": fits.chi_square[good].astype(np.float64)}


def keep_one(
    frame: np.ndarray, position_nm: np.ndarray, chi_square: np.ndarray, good: np.ndarray, distance_nm: float
) -> np.ndarray:
    """Marks (K,) the best of the fits that ended nearer to each other than a distance, frame by frame."""
    keep = np.ones(len(frame), bool)
    index = np.nonzero(good)[0]
    if index.size < 2:
        return keep
    apart = 10.0 * (np.ptp(position_nm[index]) + distance_nm)
    tree = cKDTree(np.column_stack([position_nm[index], frame[index] * apart]))
    for a, b in sorted(tree.query_pairs(distance_nm)):
        if keep[index[a]] and keep[index[b]]:
            keep[index[b] if chi_square[index[a]] <= chi_square[index[b]] else index[a]] = False
    return keep


def check_maps(camera: SCMOS | EMCCD | None, size: tuple[int, ...]) -> None:
    """Raises where a map of the camera has another size than the frames."""
    for name in getattr(camera, "__dataclass_fields__", {}):
        leaf = getattr(camera, name)
        if np.ndim(leaf) and np.shape(leaf) != tuple(size):
            raise InputError(
                f"camera.{name}: expected a number or a map of the frames' size {tuple(size)}, found {np.shape(leaf)}. "
                "Crop or transpose the map."
            )


def _knows_depth(psf: EmitterPSF) -> bool:
    at = 5.5 * float(psf.pixel_nm)
    near, far = (np.asarray(psf.spots((11, 11), at, at, z)) for z in (0.0, 200.0))
    return bool(np.abs(near - far).max() > 1e-6)
