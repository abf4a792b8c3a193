"""Splits by hashes: the same on every machine, by family, with clear errors."""

from __future__ import annotations

from collections import Counter

import pytest

from bioflax.data.splits import file_digest, make_split, read_split, select_part, write_split
from bioflax.errors import InputError


@pytest.fixture
def files(tmp_path):
    made = []
    for number in range(30):
        path = tmp_path / f"{'ab'[number % 3 == 0]}_{number:02d}.png"
        path.write_bytes(b"picture %d" % number)
        made.append(path)
    return made


def test_a_split_takes_a_share_of_each_family_and_reads_back(files, tmp_path) -> None:
    listed = make_split(files, 0.2, family=lambda stem: stem[0])
    assert Counter((name[0], part) for part, name in listed.values()) == {
        ("a", "train"): 16, ("a", "test"): 4, ("b", "train"): 8, ("b", "test"): 2,
    }  # fmt: skip
    assert listed == make_split(files[::-1], 0.2, family=lambda stem: stem[0])  # whatever the order
    write_split(tmp_path / "mine.txt", listed)
    assert read_split(tmp_path / "mine.txt") == {digest: part for digest, (part, _) in listed.items()}
    train, test = (select_part(files, tmp_path / "mine.txt", part) for part in ("train", "test"))
    assert len(train) == 24 and len(test) == 6 and set(train) | set(test) == set(files)
    assert {file_digest(path) for path in test} == {d for d, (part, _) in listed.items() if part == "test"}
    assert select_part(files, None, "test") == files


def test_the_split_that_comes_along_is_four_to_one() -> None:
    parts = Counter(read_split("dsb2018").values())
    assert parts == {"train": 130, "test": 34}


def test_errors_are_one_clear_line(files, tmp_path) -> None:
    with pytest.raises(
        InputError, match="split: expected a file of hashes, or one of dsb2018, dsb2018_every_fifth; found nowhere"
    ):
        read_split("nowhere")
    with pytest.raises(InputError, match="30 of 30 files are not in the split dsb2018, such as"):
        select_part(files, "dsb2018", "train")
    with pytest.raises(InputError, match="part: expected one of train, test, all; found 'val'"):
        select_part(files, "dsb2018", "val")
    (tmp_path / "bad.txt").write_text("# a comment\n\nabc train x\n")
    with pytest.raises(InputError, match=r"`hash train\|test name` in line 3"):
        read_split(tmp_path / "bad.txt")
    with pytest.raises(InputError, match="split.share"):
        make_split(files, 1.5)
