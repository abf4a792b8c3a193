"""Simulated pairs as files: counts of the camera and targets on the finer grid, the same for the same seed."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.io import open_image
from bioflax.optics import SCMOS
from bioflax.optics.illumination import Illumination
from bioflax.simulate import Magnified
from bioflax.simulate.files import write_pairs

PLAIN = Magnified(size=(12, 14), margin=2, upscale=3)
LIT = Magnified(size=12, margin=2, illumination=Illumination())
draw = jax.jit(lambda simulator, key: simulator.sample(key, 1))


def test_pairs_are_counts_and_targets_of_one_name(tmp_path) -> None:
    assert write_pairs(PLAIN, tmp_path, seed=4, fields=2) == 2
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["field0001.tif", "field0002.tif"]
    for number, name in enumerate(("field0001.tif", "field0002.tif")):
        image, target = (open_image(tmp_path / folder / name) for folder in ("images", "targets"))
        drawn = draw(PLAIN, jax.random.fold_in(jax.random.key(4), number))
        assert (image.axes, image.shape, image.dtype) == ("YX", (12, 14), np.uint16)
        assert (target.axes, target.shape, target.dtype) == ("YX", (36, 42), np.float32)
        assert image.pixel_nm["X"] == pytest.approx(100.0) and target.pixel_nm["Y"] == pytest.approx(100 / 3)
        np.testing.assert_array_equal(image.read(), drawn["image"][0, ..., 0])
        np.testing.assert_allclose(target.read(), drawn["target"][0, ..., 0], rtol=1e-6)


def test_more_fields_begin_with_the_same(tmp_path) -> None:
    for folder, fields in (("few", 1), ("many", 2)):
        write_pairs(PLAIN, tmp_path / folder, seed=4, fields=fields)
    first = [open_image(tmp_path / folder / "images" / "field0001.tif").read() for folder in ("few", "many")]
    np.testing.assert_array_equal(*first)
    assert (open_image(tmp_path / "many" / "images" / "field0002.tif").read() != first[0]).any()


def test_pairs_of_an_earlier_run_are_not_left_among_the_new(tmp_path) -> None:
    write_pairs(PLAIN, tmp_path, seed=4, fields=2)
    write_pairs(PLAIN, tmp_path, seed=5, fields=2)  # all of them are written over
    with pytest.raises(InputError, match="field0002.tif of an earlier run"):
        write_pairs(PLAIN, tmp_path, seed=4, fields=1)


def test_stripes_by_a_word_are_refused() -> None:
    with pytest.raises(InputError, match="simulator=magnified_frames"):
        Magnified(illumination="stripes")


def test_raw_frames_are_an_axis_of_the_image(tmp_path) -> None:
    write_pairs(LIT, tmp_path, seed=0, fields=1)
    image = open_image(tmp_path / "images" / "field0001.tif")
    assert (image.axes, image.shape) == ("CYX", (9, 12, 12))
    drawn = draw(LIT, jax.random.fold_in(jax.random.key(0), 0))
    np.testing.assert_array_equal(image.read(), np.moveaxis(np.asarray(drawn["image"][0]), -1, 0))
    assert open_image(tmp_path / "targets" / "field0001.tif").shape == (24, 24)


def test_counts_are_kept_to_sixteen_bits(tmp_path) -> None:
    bright = dataclasses.replace(PLAIN, photons=1e6, background_photons=1e6, camera=SCMOS(bits=None))
    write_pairs(bright, tmp_path, seed=0, fields=1)
    assert open_image(tmp_path / "images" / "field0001.tif").read().min() == 65535
    assert open_image(tmp_path / "targets" / "field0001.tif").read().min() > 1e6  # targets are not cut
