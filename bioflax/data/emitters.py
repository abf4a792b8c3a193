"""Simulated emitters as a source of batches: frames in the units of the net, positions in pixels, light and depth scaled."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.data.assemble import Prepared, plain_settings
from bioflax.data.finite import check_fields, limit
from bioflax.data.leaves import with_leaves
from bioflax.data.normalize import Normalization
from bioflax.errors import InputError
from bioflax.ops.peaks import drop_duplicates
from bioflax.typing import Array, Batch

SAME_PX = 0.3  # nearer rows are one emitter that two pixels claim; also two that lie above one another


@with_leaves("pixel_nm", "photons", "z_nm", "background_photons")
@dataclass(frozen=True)
class EmitterScales:
    """The units of a localizer: what 1 means in its maps.

    Args:
        pixel_nm: pixel side; x and y are in pixels.
        photons: photons that the net calls 1; more it cannot say.
        z_nm: depth that it calls 1.
        background_photons: background that it calls 1.
        frames: consecutive frames of its input.
    """

    pixel_nm: float
    photons: float
    z_nm: float
    background_photons: float
    frames: int = 3

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise InputError(f"scales.{name}: expected more than 0, found {value!r}.")

    def to_columns(self, found: dict[str, Array], first_frame: int = 1) -> dict[str, np.ndarray]:
        """Emitters of frames in physical units; of two that a net puts at one place the more probable is kept.

        An emitter on the edge of two pixels may be claimed by both with a high probability: DECODE's rule keeps two.

        Args:
            found: as `ops.peaks.find_emitters` gives them, (T, M).
            first_frame: number of the first frame.

        Returns:
            Columns: frame, x_nm, y_nm (from the outer corner of the first pixel), z_nm, photons, background_photons where
            it is predicted, sigma_x_nm, sigma_y_nm, sigma_z_nm, sigma_photons, probability.
        """
        mask = np.asarray(found["mask"])
        frame, place = np.nonzero(mask)
        position = [np.asarray(found[name], np.float64)[mask] for name in ("x_px", "y_px", "score")]
        mask = mask.copy()
        mask[frame, place] = drop_duplicates(frame, *position, distance_px=SAME_PX)
        value = {name: np.asarray(array, np.float64)[mask] for name, array in found.items() if np.ndim(array) == 2}
        columns = {
            "frame": np.nonzero(mask)[0].astype(np.int64) + first_frame,
            "x_nm": (value["x_px"] + 0.5) * self.pixel_nm,
            "y_nm": (value["y_px"] + 0.5) * self.pixel_nm,
            "z_nm": value["z"] * self.z_nm,
            "photons": value["photons"] * self.photons,
        }
        if "background" in value:
            columns["background_photons"] = value["background"] * self.background_photons
        columns |= {
            "sigma_x_nm": value["spread_x"] * self.pixel_nm,
            "sigma_y_nm": value["spread_y"] * self.pixel_nm,
            "sigma_z_nm": value["spread_z"] * self.z_nm,
            "sigma_photons": value["spread_photons"] * self.photons,
            "probability": value["score"],
        }
        return columns


@partial(jax.tree_util.register_dataclass, data_fields=["simulator", "normalization", "scales"], meta_fields=[])
@dataclass(frozen=True)
class ScaledEmitters:
    """A simulator of emitters in the units of the net; a `DeviceSource`."""

    simulator: Any
    normalization: Normalization
    scales: EmitterScales

    def sample(self, key: jax.Array, n: int) -> Batch:
        """`image` (n, H, W, frames), `background` (n, H, W, 1) and (n, E): `photons`, `x_px`, `y_px`, `z`, `mask`."""
        return scale_batch(self.simulator.sample(key, n), self.normalization, self.scales)


def scale_batch(batch: Batch, normalization: Normalization, scales: EmitterScales) -> Batch:
    """From photons and nanometres (as `EmitterSimulator.sample`) to the units of the net; pixel centres at integers."""
    return {
        "image": normalization.apply(batch["image"]),
        "background": batch["background"] / scales.background_photons,
        "photons": batch["photons"] / scales.photons,
        "x_px": batch["x_nm"] / scales.pixel_nm - 0.5,
        "y_px": batch["y_nm"] / scales.pixel_nm - 0.5,
        "z": batch["z_nm"] / scales.z_nm,
        "mask": jnp.asarray(batch["present"], jnp.float32),
    }


@dataclass(frozen=True)
class SimulatedEmitters:
    """Frames of emitters made anew inside every training step; no files.

    Args:
        simulator: a `simulate.EmitterSimulator`.
        validation: held-out examples, judged against the truth, the Cramer-Rao bound and a maximum-likelihood fit.
        pixel_nm: pixel size; must be that of the simulator's spot.
        fields: distinct examples in the training set, noise included; None draws new ones for ever.
    """

    simulator: Any
    validation: int = 64
    pixel_nm: float | None = None
    fields: int | None = None

    def prepare(self, mode: str, augment: tuple[str, ...], *, spatial_dims: int, seed: int, batch: int) -> Prepared:
        """As `FolderData.prepare`; scales follow from the ranges of the simulator, as in DECODE."""
        del augment
        check_fields(self.fields)
        if mode != "emitters":
            raise InputError("data: simulated emitters train a localizer. Take task=localize, or other data.")
        if spatial_dims != 2:
            raise InputError(f"data: simulated frames are 2-D, the model is {spatial_dims}-D.")
        simulator = self.simulator
        if self.pixel_nm is not None and abs(self.pixel_nm - float(simulator.psf.pixel_nm)) > 1e-6:
            raise InputError(
                f"data.pixel_nm: expected the {float(simulator.psf.pixel_nm):g} nm of the spot, found {self.pixel_nm:g}."
            )
        draw = jax.jit(lambda simulator, key: simulator.sample(key, batch))
        brightest, deepest, veil = (
            _largest(getattr(simulator, name)) for name in ("photons", "z_nm", "background_photons")
        )
        background = np.mean(np.asarray(simulator.background_photons, float))
        # Room above the range, so that sigmoid and tanh stay away from their ends.
        scales = EmitterScales(
            pixel_nm=float(simulator.psf.pixel_nm),
            photons=1.3 * brightest,
            z_nm=1.2 * max(deepest, 1.0),
            background_photons=1.2 * max(veil * _brightest_background(simulator), 1.0),
            frames=simulator.frames,
        )
        # DECODE: (photons - mean background) / (mean light / 50).
        normalization = Normalization("photons", (float(background),), (max(brightest / 100.0, 1.0),))
        root = jax.random.fold_in(jax.random.key(seed), 2)
        held_out, truth = [], []
        for index in range(-(-self.validation // batch)):
            drawn = jax.device_get(draw(simulator, jax.random.fold_in(root, index)))
            truth.append(drawn)
            held_out.append(
                {**jax.device_get(scale_batch(drawn, normalization, scales)), "target": drawn["background"]}
            )
        physics = {
            "scales": asdict(scales),
            "psf": plain_settings(simulator.psf),
            "camera": plain_settings(simulator.camera),
            "z_nm": [float(z) for z in simulator.z_nm],
        }
        trained_on = {"simulator": type(simulator).__name__, "settings": plain_settings(simulator)}
        trained_on |= {} if self.fields is None else {"fields": self.fields}
        pixel = {"Y": scales.pixel_nm, "X": scales.pixel_nm}
        # Around the scaled source: `source.simulator` stays the endless one, which held-out examples may be asked of.
        source = limit(ScaledEmitters(simulator, normalization, scales), self.fields, seed)
        return Prepared(
            source,
            held_out,
            normalization,
            simulator.frames,
            "emitters",
            trained_on,
            pixel,
            physics=physics,
            truth=truth,
        )


def _largest(span: Any) -> float:
    return float(np.max(np.abs(np.asarray(span, float))))


def _brightest_background(simulator: Any) -> float:
    """Of a structured background over its level: three deviations of blotches, and the most of gradient and Perlin noise."""
    return 1.0 + 3.0 * float(simulator.structure) + 0.5 * float(simulator.gradient) + float(simulator.perlin)
