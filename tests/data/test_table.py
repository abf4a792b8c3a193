"""Where patches may lie: counted against every position by hand."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from bioflax.data import from_arrays
from bioflax.data.table import build_table, check_patch, free_origins
from bioflax.errors import InputError

RNG = np.random.default_rng(0)


def enumerate_boxes(boxes):
    found = [
        tuple(low + step for low, step in zip(corner, steps))
        for corner, extent in boxes
        for steps in product(*map(range, extent))
    ]
    assert len(found) == len(set(found)), "boxes overlap"
    return set(found)


@pytest.mark.parametrize(
    ("size", "patch", "box"),
    [
        ((12, 10), (3, 4), ((8, 12), (6, 10))),
        ((12, 10), (3, 4), ((0, 4), (0, 5))),
        ((12, 10), (3, 4), ((5, 7), (3, 6))),
        ((12, 10), (3, 4), ((0, 12), (6, 10))),
        ((12, 10), (12, 4), ((8, 12), (6, 10))),
        ((12, 10), (3, 4), ((0, 12), (0, 10))),
        ((12, 10), (3, 4), None),
        ((4, 8, 7), (2, 3, 3), ((0, 4), (5, 8), (4, 7))),
    ],
)
def test_free_origins_are_exactly_those_that_do_not_touch(size, patch, box):
    expected = set()
    for origin in product(*(range(length - part + 1) for length, part in zip(size, patch))):
        touches = box is not None and all(
            at < stop and at + part > start for at, part, (start, stop) in zip(origin, patch, box)
        )
        if not touches:
            expected.add(origin)
    assert enumerate_boxes(free_origins(size, patch, box)) == expected


def make_set(repeats=(3, 2), sizes=((12, 10), (9, 14))):
    fields = [from_arrays([RNG.random((count, *size))], "TYX", repeat_axis="T") for count, size in zip(repeats, sizes)]
    return replace(fields[0], items=tuple(one.items[0] for one in fields))


def test_every_position_is_equally_likely_and_every_pair_in_its_field():
    image_set = make_set()
    table = build_table(image_set, (4, 4), "pairs")
    positions = [(12 - 3) * (10 - 3), (9 - 3) * (14 - 3)]
    np.testing.assert_allclose(table.cumulative, np.cumsum(positions) / sum(positions), rtol=1e-6)
    assert {tuple(row) for row in table.pairs[:6]} == {(0, a, b) for a in range(3) for b in range(3) if a != b}
    assert {tuple(row) for row in table.pairs[6:]} == {(1, 3, 4), (1, 4, 3)}
    rows, origins = table.draw(RNG.random((60000, 4), np.float32), np)
    assert set(map(tuple, rows)) == set(map(tuple, table.pairs))
    share = np.mean(rows[:, 0] == 0)
    assert share == pytest.approx(positions[0] / sum(positions), abs=0.01)
    found = np.unique(origins[rows[:, 0] == 1], axis=0, return_counts=True)
    assert len(found[0]) == positions[1]
    assert found[1].max() / found[1].min() < 1.6
    pairs = np.unique(rows[rows[:, 0] == 0], axis=0, return_counts=True)[1]
    assert pairs.max() / pairs.min() < 1.1


def test_the_end_of_the_uniform_interval_stays_inside():
    table = build_table(make_set(), (4, 4), "single")
    top = np.float32(1) - np.float32(2**-24)
    rows, origins = table.draw(np.full((1, 4), top, np.float32), np)
    assert rows.tolist() == [[1, 4, 4]]
    assert origins.tolist() == [[5, 10]]
    wide = replace(table, extent=np.full_like(table.extent, 20000))
    assert wide.draw(np.full((1, 4), top, np.float32), np)[1].max() == 19999


def test_foreground_patches_are_centred_on_bright_blocks():
    picture = np.zeros((64, 64))
    picture[32:48, 16:32] = 10
    image_set = from_arrays([picture], "YX")
    uniform = RNG.random((20000, 4), np.float32)
    for foreground in (0.5, 1.0):
        table = build_table(image_set, (16, 16), "single", foreground, lambda number: picture)
        _, origins = table.draw(uniform, np)
        centre = origins + 8
        bright = ((centre >= [32, 16]) & (centre < [48, 32])).all(1)
        by_chance = 16 * 16 / 49**2
        assert bright.mean() == pytest.approx(foreground + (1 - foreground) * by_chance, abs=0.015)
    for empty in (np.zeros((64, 64)), picture * 0 + 3):
        table = build_table(image_set, (16, 16), "single", 0.9, lambda number, empty=empty: empty)
        assert len(table.field) == 1


def test_foreground_patches_also_avoid_the_held_out_box():
    picture = np.zeros((64, 64))
    picture[30:64, 30:64] = 10
    plain = from_arrays([picture], "YX")
    image_set = replace(plain, items=(replace(plain.items[0], held_out=((44, 64), (44, 64))),))
    table = build_table(image_set, (16, 16), "single", 0.8, lambda number: picture)
    _, origins = table.draw(RNG.random((5000, 4), np.float32), np)
    assert not (origins + 16 > 44).all(1).any()


def test_what_does_not_fit_is_told():
    image_set = make_set((2, 1))
    with pytest.raises(InputError, match="mode: expected one of single, pairs, target, found 'n2n'"):
        build_table(image_set, (4, 4), "n2n")
    with pytest.raises(InputError, match="needs a target for every field"):
        build_table(image_set, (4, 4), "target")
    with pytest.raises(InputError, match="needs two different captures of every field, found one of array0"):
        build_table(image_set, (4, 4), "pairs")
    with pytest.raises(InputError, match=r"patch: \(4, 11\) does not fit into array0 \(12, 10\)"):
        build_table(image_set, (4, 11), "single")
    with pytest.raises(InputError, match="foreground: expected a fraction"):
        build_table(image_set, (4, 4), "single", 1.5)
    for patch in ((4,), (4, 4, 4), (0, 4), (-8, 8)):
        with pytest.raises(InputError, match="patch: expected 2 positive lengths"):
            check_patch(image_set, patch)
    full = replace(image_set.items[0], held_out=((0, 12), (3, 10)))
    with pytest.raises(InputError, match=r"no patch .* fits beside the held-out box"):
        build_table(replace(image_set, items=(full,)), (4, 4), "single")


def test_pairs_of_a_long_movie_stay_few():
    movie = from_arrays([np.random.default_rng(0).normal(size=(1200, 8, 8)).astype(np.float32)], "TYX", repeat_axis="T")
    table = build_table(movie, (4, 4), "pairs")
    assert len(table.pairs) == 1200 * 500
    assert (table.pairs[:, 1] != table.pairs[:, 2]).all() and table.pairs.max() == 1199
