"""Tables of points: ours come back, those of other programs are understood, and doubtful ones are refused."""

import csv

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.io import read_points, write_napari_points, write_points_csv

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("ndim", [2, 3])
def test_round_trip(tmp_path, ndim):
    points = RNG.normal(50, 40, (20000, ndim))
    path = tmp_path / "deep" / "a.csv"
    write_points_csv(path, points, {"probability": RNG.random(20000), "label": np.arange(20000)}, 107.3)
    np.testing.assert_array_equal(read_points(path), points)
    with open(path) as file:
        rows = list(csv.DictReader(file))
    names = "xyz"[:ndim]
    assert list(rows[0]) == [f"{n}_px" for n in names] + [f"{n}_nm" for n in names] + ["probability", "label"]
    assert float(rows[7]["x_px"]) == points[7, -1]
    assert float(rows[7]["y_nm"]) == pytest.approx((points[7, -2] + 0.5) * 107.3)
    assert rows[7]["label"] == "7"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.csv"]
    write_napari_points(path, points)
    np.testing.assert_array_equal(read_points(path), points)


@pytest.mark.parametrize("ndim", [2, 3])
def test_no_points(tmp_path, ndim):
    write_points_csv(tmp_path / "a.csv", np.zeros((0, ndim)), {"probability": []}, 100.0)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1
    assert read_points(tmp_path / "a.csv").shape == (0, ndim)


def test_pixels_that_are_not_cubes(tmp_path):
    write_points_csv(tmp_path / "a.csv", np.array([[1.0, 2.0, 3.0]]), None, {"Z": 300.0, "Y": 100.0, "X": 110.0})
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines == ["x_px,y_px,z_px,x_nm,y_nm,z_nm", "3.0,2.0,1.0,385.0,250.0,450.0"]
    (tmp_path / "a.csv").write_text("x_nm,y_nm,z_nm\n385,250,450\n")
    points = read_points(tmp_path / "a.csv", pixel_nm={"Z": 300.0, "Y": 100.0, "X": 110.0})
    np.testing.assert_allclose(points, [[1, 2, 3]])


TRACKMATE = (
    "LABEL,ID,QUALITY,POSITION_X,POSITION_Y,POSITION_Z,FRAME\n"
    "Label,Spot ID,Quality,X,Y,Z,Frame\n"
    "Label,Spot ID,Quality,X,Y,Z,Frame\n"
    ",,(quality),({unit}),({unit}),({unit}),\n"
    "ID1,1,5.0,0.5,1.0,0.0,0\n"
    "ID2,2,6.0,2.0,0.25,{z},0\n"
)


@pytest.mark.parametrize(
    ("text", "pixel_nm", "expected"),
    [
        ("x_px,y_px\n1,2\n", None, [[2, 1]]),
        ("\ufeffY_px,id,X_px,z_px\n2,A,1,3\n\n", None, [[3, 2, 1]]),
        ('"x [px]","y [px]"\n1,2\n', None, [[2, 1]]),
        ("y [px],x [px],z\n2,1,0\n3,1,0\n", None, [[2, 1], [3, 1]]),
        ("y [px],x [px],z\n2,1,0\n3,1,1\n", None, [[0, 2, 1], [1, 3, 1]]),
        ("index,axis-0,axis-1,name\n0,2,1,a\n", None, [[2, 1]]),
        ("index,axis-0,axis-1,axis-2\n0.0,3,2,1\n", None, [[3, 2, 1]]),
        ("y,x,intensity\n2,1,9\n", None, [[2, 1]]),
        ("z,y,x\n3,2,1\n", None, [[3, 2, 1]]),
        ("x;y\n1;2\n", None, [[2, 1]]),
        ("x\ty\n1\t2\n", None, [[2, 1]]),
        ("x_nm,y_nm\n50,250\n", 100.0, [[2, 0]]),
        (TRACKMATE.format(unit="micron", z="0.0"), 250.0, [[4, 2], [1, 8]]),
        (TRACKMATE.format(unit="micron", z="0.5"), {"Z": 500, "Y": 250, "X": 500}, [[0, 4, 1], [1, 1, 4]]),
        (TRACKMATE.format(unit="nm", z="0.0"), 0.25, [[4, 2], [1, 8]]),
        (TRACKMATE.format(unit="pixel", z="0.0"), 250.0, [[1, 0.5], [0.25, 2]]),
        ("POSITION_X,POSITION_Y\n0.5,1.0\n", 250.0, [[4, 2]]),
    ],
)
def test_tables_of_other_programs(tmp_path, text, pixel_nm, expected):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    points = read_points(tmp_path / "a.csv", pixel_nm=pixel_nm)
    assert points.dtype == np.float64
    np.testing.assert_allclose(points, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "axes", "message"),
    [
        ("1.0,2.0\n3,4\n", None, r"expected a header of x_px,y_px\[,z_px\] .* found no header"),
        ("row,col\n3,4\n", None, "expected a header of .*TrackMate.*, found 'row,col'"),
        ("", None, "found an empty file"),
        ("x_nm,y_nm\n3,4\n", None, "expected pixels, found x_nm. Give the pixel size: pixel_nm"),
        ("POSITION_X,POSITION_Y\n3,4\n", None, "expected pixels, found position_x. Give the pixel size"),
        ("x,y\n3,four\n", None, "expected numbers in line 2, found '3,four'"),
        ("x,y\n3,4\n3\n", None, "expected numbers in line 3, found '3'"),
        ("x,y\n3,4\n3,nan\n", None, "found NaN or infinity in point 2"),
        ("x,x,y\n3,4,5\n", None, "expected one column x, found 2"),
        ("x,y,frame\n3,4,0\n3,4,1\n", None, "expected the points of one image, found 2 frames"),
        ("axis-0,axis-1,axis-2,axis-3\n1,2,3,4\n", None, "expected two or three axes"),
        ("x,y\n3,4\n", "ZYX", "expected a z for each point"),
        ("x,y,z\n3,4,1\n3,4,2\n", "YX", "found a z that varies. Use axes=ZYX"),
        ("x,y\n3,4\n", "XY", "axes: expected YX or ZYX for points, found 'XY'"),
    ],
)
def test_doubtful_tables_are_refused(tmp_path, text, axes, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_points(tmp_path / "a.csv", axes)
    assert "\n" not in str(caught.value)


def test_axes_are_what_was_asked_for(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\n3,4,1\n5,6,1\n")
    np.testing.assert_array_equal(read_points(tmp_path / "a.csv", "YX"), [[4, 3], [6, 5]])
    np.testing.assert_array_equal(read_points(tmp_path / "a.csv"), [[1, 4, 3], [1, 6, 5]])
    (tmp_path / "a.csv").write_text("x [px],y [px],z\n3,4,1\n")
    np.testing.assert_array_equal(read_points(tmp_path / "a.csv", "zyx"), [[1, 4, 3]])


def test_no_text_and_no_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="found no such file"):
        read_points(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"x,y\n\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="found bytes that are no text"):
        read_points(tmp_path / "a.csv")


def test_wrong_points_and_columns_are_refused(tmp_path):
    path, points = tmp_path / "a.csv", np.zeros((2, 2))
    for wrong, message in ((np.zeros(4), "expected .N, 2. or .N, 3., found .4,."), (points * np.nan, "found NaN")):
        with pytest.raises(InputError, match=message):
            write_points_csv(path, wrong)
    with pytest.raises(InputError, match="columns: expected 2 numbers in p, one a row, found float64 .3,."):
        write_points_csv(path, points, {"p": np.zeros(3)})
    with pytest.raises(InputError, match="expected a new name without commas, found 'x_px'"):
        write_points_csv(path, points, {"x_px": np.zeros(2)})
    with pytest.raises(InputError, match="expected a new name without commas, found 'a,b'"):
        write_points_csv(path, points, {"a,b": np.zeros(2)})
    assert not path.exists()


def test_hand_marked_spots_of_the_shared_data(shared):
    path = shared / "detection" / "insta_smfish" / "spots.csv"
    x, y = np.loadtxt(path, delimiter=",", skiprows=1, unpack=True)
    np.testing.assert_array_equal(read_points(path), np.column_stack([y, x]))
