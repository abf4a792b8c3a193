"""Classical SIM on real frames: stripes are found where the microscope put them, and the pictures come close to its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bioflax.baselines import estimate_illumination, reconstruct, widefield
from bioflax.io import open_image
from bioflax.metrics import nrmse
from bioflax.optics import WidefieldOptics

pytestmark = pytest.mark.acceptance
# Neither set states its lens. The pass band of dl_sim ends near 243 nm; its frames were enlarged twofold to 30 nm.
DL_SIM = WidefieldOptics(na=1.4, wavelength_nm=680.0, pixel_nm=30.0)
RDL_SIM = WidefieldOptics(na=1.41, wavelength_nm=525.0, pixel_nm=62.6)
OFFSETS = {"high": 100.0, "low": 95.0}


def read(path: Path, axes: str = "TYX") -> np.ndarray:
    return np.asarray(open_image(path, axes).read(), np.float32)


def decibel(image: np.ndarray, target: np.ndarray) -> float:
    """PSNR after an affine match, over the target's range from 0.1 to 99.9 %."""
    return float(-20 * np.log10(nrmse(image.astype(np.float64), target.astype(np.float64))))


def test_stripes_of_nine_noisy_frames(shared: Path) -> None:
    frames = read(shared / "super-resolution" / "rdl_sim_raw" / "microtubules_raw_sim.tif")
    found = estimate_illumination(frames, RDL_SIM, phases=3)
    np.testing.assert_allclose(found.angle_deg, [84.9, 144.9, -155.0], atol=0.5)  # evenly spread, which nothing demands
    np.testing.assert_allclose(found.period_nm, 180.1, rtol=0.005)
    fine = reconstruct(frames, found, RDL_SIM, balance=0.03)
    assert fine.shape == (512, 512)
    assert fine.mean() == pytest.approx(widefield(frames).mean(), rel=1e-3)


@pytest.mark.parametrize(("exposure", "gain_db", "least_db"), [("high", 5.0, 23.5), ("low", 2.5, 20.2)])
def test_reconstruction_of_fifteen_frames(shared: Path, exposure: str, gain_db: float, least_db: float) -> None:
    folder = shared / "super-resolution" / "dl_sim"
    frames, target = read(folder / f"{exposure}_exposure_raw15.tif"), read(folder / "high_exposure_sim.tif", "YX")
    offset = OFFSETS[exposure]
    found = estimate_illumination(frames, DL_SIM, phases=5, offset=offset)
    np.testing.assert_allclose(found.angle_deg, [13.9, -45.5, 74.2], atol=0.6)
    np.testing.assert_allclose(found.period_nm, [245.6, 245.3, 247.8], rtol=0.01)
    assert (found.half_modulation > 0.4).all()
    balance = 0.01 if exposure == "high" else 0.1
    fine = reconstruct(frames, found, DL_SIM, upscale=1, balance=balance, sectioning=0.99, offset=offset)
    assert decibel(fine, target) > max(least_db, decibel(widefield(frames), target) + gain_db)
