"""False structures are counted as connected parts of enough area."""

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.metrics.structures import false_structures


def scene():
    image = np.full((40, 50), 10.0)
    image[4:8, 4:8] = 20.0  # 16 px
    image[20, 20:24] = 20.0  # 4 px in a row
    image[30:33, 30:33] += 15.0 * np.eye(3)  # 3 px joined by their corners
    image[35, 45] = 90.0  # a hot pixel
    image[10:14, 40:44] = 13.0  # below the contrast
    return image


def test_parts_of_enough_area_and_contrast_are_counted():
    found = false_structures(scene(), 10.0, 5.0, 50.0)
    assert found.count == 2
    assert found.area_um2 == pytest.approx(40 * 50 * 0.05**2)
    assert found.per_um2 == pytest.approx(2 / 5.0)
    assert false_structures(scene(), 10.0, 5.0, 50.0, least_area_px=3).count == 3
    assert false_structures(scene(), 10.0, 5.0, 50.0, least_area_px=1).count == 4
    assert false_structures(scene(), 10.0, 2.0, 50.0).count == 3
    assert false_structures(scene(), 10.0, 100.0, 50.0).per_um2 == 0.0


def test_only_the_empty_part_counts():
    empty = np.ones((40, 50), bool)
    empty[:, 22:] = False  # cuts the row in two: a true structure may reach in
    found = false_structures(scene(), 10.0, 5.0, 100.0, mask=empty)
    assert found.count == 1
    assert found.per_um2 == pytest.approx(1 / (40 * 22 * 0.01))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: false_structures(np.ones(3), 1, 1, 1), "image"),
        (lambda: false_structures(scene() * np.inf, 1, 1, 1), "image"),
        (lambda: false_structures(scene(), 1, 0, 1), "contrast"),
        (lambda: false_structures(scene(), 1, 1, 1, mask=np.zeros((40, 50))), "mask"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(InputError, match=text):
        call()
