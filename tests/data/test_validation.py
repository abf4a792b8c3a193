"""Validation batches: fixed, of one size, with the best reference that the data allow."""

import numpy as np
import pytest

from bioflax.data import Normalization, fit, from_arrays, validation_batches
from bioflax.errors import InputError

RNG = np.random.default_rng(0)
PLAIN = Normalization("none")
CLEAN = RNG.random((20, 26)).astype(np.float32) * 10
NOISY = CLEAN + np.arange(1, 4, dtype=np.float32)[:, None, None] * 100


def batches(targets=True, repeats=True, normalization=PLAIN, **options):
    image = NOISY if repeats else NOISY[0]
    image_set = from_arrays(
        [image], "TYX" if repeats else "YX", [CLEAN] if targets else None, repeat_axis="T" if repeats else None
    )
    return validation_batches(image_set, normalization, **{"patch": (8, 8), "batch_size": 4, **options})


def test_clean_targets_come_first():
    found = batches()
    assert [batch["image"].shape for batch in found] == [(4, 8, 8, 1)] * 9  # 3 x 4 places, 3 captures
    for batch in found:
        offset = batch["image"] - batch["target"]
        assert set(offset.round().ravel()) <= {100, 200, 300}


def test_patches_cover_the_field():
    image_set = from_arrays([np.arange(20 * 26, dtype=np.float32).reshape(20, 26)], "YX")
    seen = np.concatenate(
        [b["image"].ravel() for b in validation_batches(image_set, PLAIN, patch=(8, 8), batch_size=1)]
    )
    assert set(seen) == set(range(20 * 26))


def test_second_captures_judge_without_clean_data():
    for batch in batches(targets=False):
        difference = (batch["target"] - batch["image"]).round()
        assert set(difference.ravel()) <= {100, -200}  # the next capture, the first after the last
    assert batches(reference="pairs")[0]["target"].min() > 99


def test_photons_are_split_where_there_is_one_capture():
    camera = fit("photons", gain_adu_per_photon=0.5, offset_adu=0)
    (batch,) = batches(False, False, camera, patch=(20, 26), batch_size=8)
    photons = np.round(NOISY[0] * 2)[None, ..., None]
    np.testing.assert_allclose((batch["image"] + batch["target"]) / 2, photons)
    assert batch["image"].mean() == pytest.approx(photons.mean(), rel=0.01)
    assert (
        np.abs(
            np.corrcoef(batch["image"].ravel() - photons.ravel(), batch["target"].ravel() - photons.ravel())[0, 1] + 1
        )
        < 1e-5
    )
    again = batches(False, False, camera, patch=(20, 26), batch_size=8)[0]
    np.testing.assert_array_equal(batch["image"], again["image"])


def test_no_reference_gives_the_image_alone():
    assert set(batches(False, False)[0]) == {"image"}
    assert set(batches(reference="none")[0]) == {"image"}


def test_batches_have_one_size_and_a_limit():
    assert [len(batch["image"]) for batch in batches(limit=10)] == [4, 4]
    assert [len(batch["image"]) for batch in batches(batch_size=100)] == [36]
    spread = np.concatenate([batch["image"] for batch in batches(limit=12)]).mean((1, 2, 3))
    assert {round(value, -2) for value in spread.tolist()} == {100, 200, 300}


def test_values_are_normalised():
    affine, clean = Normalization("mean_std", (5.0,), (2.0,)), Normalization("mean_std", (0.0,), (10.0,))
    plain, scaled = batches(), batches(normalization=affine, target_normalization=clean)
    np.testing.assert_allclose(scaled[0]["image"], affine.apply(plain[0]["image"]))
    np.testing.assert_allclose(scaled[0]["target"], clean.apply(plain[0]["target"]))


def test_references_that_the_data_lack_are_told():
    with pytest.raises(InputError, match="nothing for 'target'; possible: pairs, none"):
        batches(targets=False, reference="target")
    with pytest.raises(InputError, match="nothing for 'split'; possible: target, none"):
        batches(repeats=False, reference="split")
    with pytest.raises(InputError, match="reference: expected one of auto, target, pairs, split, none"):
        batches(reference="clean")
    with pytest.raises(InputError, match="batch_size, limit: expected 1 or more"):
        batches(limit=0)
    with pytest.raises(InputError, match="does not fit into"):
        batches(patch=(32, 32))
