"""Label images, outlines, GeoJSON, napari and ImageJ files: each writer is checked by an independent reader."""

import csv
import json
import time
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from bioflax.errors import InputError
from bioflax.io import (
    check_labels,
    fill_label_holes,
    group_rings,
    label_defects,
    label_outlines,
    nest_rings,
    read_geojson,
    read_labels,
    write_imagej_points,
    write_imagej_rois,
    write_labels,
    write_napari_points,
    write_napari_shapes,
    write_objects_geojson,
    write_points_geojson,
)

RNG = np.random.default_rng(3)
EMPTY = np.zeros((5, 6), np.int32)
# 1: at the corner, with a hole that holds 2; 3: one pixel; 4: two pieces that meet at a corner
SMALL = np.array(
    [
        [1, 1, 1, 1, 0, 3],
        [1, 0, 0, 1, 0, 0],
        [1, 0, 2, 1, 4, 0],
        [1, 1, 1, 1, 0, 4],
    ],
    np.uint8,
)


def random_labels(seed: int, shape=(23, 31), objects=9) -> np.ndarray:
    """Ragged objects with holes, pieces, and neighbours that touch at sides and corners."""
    return np.random.default_rng(seed).integers(0, objects + 1, shape) * (
        np.random.default_rng(seed + 100).random(shape) < 0.8
    )


def dense_labels(seed: int) -> np.ndarray:
    """Two objects through one another, one of them a sponge whose rings meet one another at corners."""
    return np.random.default_rng(seed).choice([0, 1, 1, 1, 2], (15, 17))


def blobs(seed: int, shape=(40, 50), count=12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    labels = np.zeros(shape, np.int32)
    for label in range(1, count + 1):
        cy, cx, ry, rx = *rng.uniform(0, shape[0], 1), *rng.uniform(0, shape[1], 1), *rng.uniform(1, 8, 2)
        labels[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1] = label
    return labels


def raster(rings, shape) -> np.ndarray:
    """Brute force: pixel centres whose ray to the right crosses the rings an odd number of times."""
    inside = np.zeros(shape, bool)
    for ring in rings:
        for (y0, x0), (y1, x1) in zip(ring, np.roll(ring, -1, axis=0)):
            for y in range(shape[0]):
                if (y0 > y) != (y1 > y):
                    inside[y, np.arange(shape[1]) < x0 + (y - y0) * (x1 - x0) / (y1 - y0)] ^= True
    return inside


def filled(mask) -> np.ndarray:
    """Brute force: a walk in four directions from outside the image reaches all that is not enclosed."""
    open_ = np.pad(~mask, 1, constant_values=True)
    reached, front = np.zeros_like(open_), [(0, 0)]
    reached[0, 0] = True
    while front:
        y, x = front.pop()
        for at in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if 0 <= at[0] < open_.shape[0] and 0 <= at[1] < open_.shape[1] and open_[at] and not reached[at]:
                reached[at] = True
                front.append(at)
    return ~reached[1:-1, 1:-1]


# Label images


@pytest.mark.parametrize("shape", [(9, 7), (3, 9, 7)])
@pytest.mark.parametrize(("top", "dtype"), [(0, "uint16"), (65535, "uint16"), (65536, "uint32"), (2**31 - 1, "uint32")])
def test_labels_come_back(tmp_path, shape, top, dtype):
    labels = RNG.integers(0, 200, shape) * (top > 0)
    labels.flat[5] = top
    path = tmp_path / "deep" / "labels.tif"
    sizes = {"Z": 200.0, "Y": 65.5, "X": 64.25}
    write_labels(path, labels, sizes)
    again, pixel_nm = read_labels(path)
    assert again.dtype == np.int32
    np.testing.assert_array_equal(again, labels)
    assert pixel_nm == pytest.approx({axis: sizes[axis] for axis in "ZYX"[-len(shape) :]})
    with tifffile.TiffFile(path) as tif:
        assert (tif.pages[0].dtype, tif.series[0].axes) == (np.dtype(dtype), "ZYX"[-len(shape) :])
        assert tif.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        numerator, denominator = tif.pages[0].tags["XResolution"].value
        assert 1e7 * denominator / numerator == pytest.approx(64.25, rel=1e-6)
        np.testing.assert_array_equal(tif.asarray(), labels)
    assert [entry.name for entry in path.parent.iterdir()] == ["labels.tif"]


def test_pixel_size_may_be_one_number_or_none(tmp_path):
    write_labels(tmp_path / "a.tif", EMPTY, 100.0)
    assert read_labels(tmp_path / "a.tif")[1] == pytest.approx({"Y": 100.0, "X": 100.0})
    write_labels(tmp_path / "a.tif", EMPTY)
    assert read_labels(tmp_path / "a.tif")[1] is None
    with pytest.raises(InputError, match=r"pixel_nm: expected a size for each of YX, found \{'X': 1.0\}. Add Y"):
        write_labels(tmp_path / "a.tif", EMPTY, {"X": 1.0})
    with pytest.raises(InputError, match="expected positive sizes in nm"):
        write_labels(tmp_path / "a.tif", EMPTY, 0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_labels_of_a_png(tmp_path, dtype):
    Image.fromarray(SMALL.astype(dtype)).save(tmp_path / "a.png")
    labels, pixel_nm = read_labels(tmp_path / "a.png")
    np.testing.assert_array_equal(labels, SMALL)
    assert pixel_nm is None


@pytest.mark.parametrize("dtype", ["int16", "uint32", "float32"])
def test_labels_of_other_pixel_types(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", SMALL.astype(dtype)[None], metadata={"axes": "CYX"})
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif")[0], SMALL)
    tifffile.imwrite(tmp_path / "b.tif", np.stack([SMALL] * 2).astype(dtype), photometric="minisblack")
    np.testing.assert_array_equal(read_labels(tmp_path / "b.tif", "ZYX")[0], [SMALL, SMALL])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (SMALL.astype(np.int16) - 1, "a.tif: expected labels from 0 .background., found -1"),
        (SMALL * 0.5, "a.tif: expected whole numbers as labels, found 0.5"),
        (np.where(SMALL, np.nan, 0).astype(np.float32), "expected finite pixels"),
        (np.full((4, 4), 2**31, np.uint32), "expected labels up to 2147483647, found 2147483648"),
        (np.zeros((4, 4, 3), np.uint8), "expected one label image with the axes YX or ZYX, found C=3 more"),
    ],
)
def test_what_is_no_label_image_is_refused(tmp_path, array, message):
    rgb = array.ndim == 3
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb" if rgb else "minisblack")
    with pytest.raises(InputError, match=message) as caught:
        read_labels(tmp_path / "a.tif")
    assert "\n" not in str(caught.value)


def test_missing_damaged_and_coloured_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_labels(tmp_path / "none.tif")
    (tmp_path / "bad.tif").write_bytes(b"no TIFF at all")
    with pytest.raises(InputError, match="expected a TIFF image"):
        read_labels(tmp_path / "bad.tif")
    Image.fromarray(RNG.integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(InputError, match="expected a grey picture, found 3 colours"):
        read_labels(tmp_path / "rgb.png")
    with pytest.raises(InputError, match="ending in .tif or .tiff, found '.png'"):
        write_labels(tmp_path / "a.png", SMALL)
    with pytest.raises(InputError, match="expected a number per object, found a mask"):
        check_labels(SMALL > 0)
    with pytest.raises(InputError, match="found the shape .0, 3."):
        check_labels(np.zeros((0, 3), int))


def test_label_files_of_the_shared_data(shared):
    mask, _ = read_labels(shared / "detection" / "stardist_example" / "mask2d.tif")
    np.testing.assert_array_equal(mask, tifffile.imread(shared / "detection" / "stardist_example" / "mask2d.tif"))
    labels, objects = group_rings(label_outlines(mask, holes=True))
    np.testing.assert_array_equal(labels, np.unique(mask)[1:])
    np.testing.assert_array_equal(raster(objects[7], mask.shape), mask == labels[7])


# Defects and holes


def test_defects_are_counted():
    assert label_defects(SMALL) == {"objects": 4, "holes": 1, "pieces": 0, "one_pixel": 2, "overflow": False}
    apart = np.zeros((9, 9), int)
    apart[0, 0] = apart[8, 8] = 5
    apart[3:6, 3:6] = 7_000_000  # beyond the number of pixels
    apart[4, 4] = 5
    assert label_defects(apart) == {"objects": 2, "holes": 0, "pieces": 1, "one_pixel": 0, "overflow": False}
    assert label_defects(EMPTY)["objects"] == 0
    stack = np.ones((3, 3, 3), int)
    stack[1, 1, 1] = 0
    assert label_defects(stack)["holes"] == 1
    assert label_defects(stack[:2])["holes"] == 0


def test_overflow_of_eight_bits_is_suspected():
    many = np.zeros((64, 64), np.int32)
    many[1::4, 1::4] = np.arange(1, 257).reshape(16, 16)  # 256 objects
    wrapped = many.astype(np.uint8)
    clipped = np.minimum(many, 255).astype(np.uint8)
    fine = np.where(many > 254, 0, many).astype(np.uint8)
    assert label_defects(wrapped)["overflow"]
    assert label_defects(clipped)["overflow"]
    assert not label_defects(fine)["overflow"]
    assert not label_defects(clipped.astype(np.int32))["overflow"]
    assert label_defects(clipped.astype(np.int32), np.uint8)["overflow"]
    two = np.zeros((64, 64), np.uint8)
    two[:4, :4] = two[40:44, 40:44] = 255
    assert label_defects(two)["overflow"]  # the same label at two ends
    near = np.zeros((64, 64), np.uint8)
    near[:4, :4] = near[:4, 6:10] = 255
    assert not label_defects(near)["overflow"]  # one object cut in two


@pytest.mark.parametrize("seed", range(4))
def test_holes_are_filled_as_by_brute_force(seed):
    labels = random_labels(seed, (18, 20), 2) if seed % 2 else blobs(seed)
    labels[RNG.random(labels.shape) < 0.1] = 0
    expected = labels.copy()
    sides = {}
    for label in np.unique(labels)[1:]:
        y, x = np.nonzero(labels == label)
        sides[label] = (np.ptp(y) + 1) * (np.ptp(x) + 1)
    for label in sorted(sides, key=lambda label: (-sides[label], label)):
        expected[filled(labels == label) & (labels == 0)] = label
    assert (expected != labels).any()
    np.testing.assert_array_equal(fill_label_holes(labels), expected)


def test_holes_never_overwrite_another_label():
    expected = SMALL.astype(np.int32)
    expected[1, 1:3] = expected[2, 1] = 1
    np.testing.assert_array_equal(fill_label_holes(SMALL), expected)
    rings = np.zeros((9, 9), int)
    rings[[0, -1]] = rings[:, [0, -1]] = 1
    rings[2:7, 2:7] = 2
    rings[4, 4] = 0  # in both: the inner one has it
    again = fill_label_holes(rings)
    assert (again[4, 4], again[1, 1]) == (2, 1)


# Outlines


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", [random_labels, dense_labels, blobs])
def test_outlines_enclose_exactly_the_pixels(make, seed):
    labels = make(seed)
    numbers, objects = group_rings(label_outlines(labels, holes=True))
    np.testing.assert_array_equal(numbers, np.unique(labels)[1:])
    for number, rings in zip(numbers, objects):
        np.testing.assert_array_equal(raster(rings, labels.shape), labels == number)
        for ring in rings:
            assert len({tuple(corner) for corner in ring}) == len(ring)  # none touches itself
            sides = np.abs(np.diff(ring, axis=0, append=ring[:1]))
            assert ((sides == 0).sum(1) == 1).all()  # along the grid, without corners on a straight side
    outer, solid = group_rings(label_outlines(labels))
    for number, rings in zip(outer, solid):
        union = np.any([raster([ring], labels.shape) for ring in rings], axis=0)
        np.testing.assert_array_equal(union, fill_one(labels == number))
        assert len(rings) == ndimage.label(labels == number)[1]


def fill_one(mask) -> np.ndarray:
    """Each piece that hangs together by sides, with what its background cannot leave by steps along the sides."""
    pieces, count = ndimage.label(mask)
    return np.any([filled(pieces == piece) for piece in range(1, count + 1)], axis=0)


def test_outlines_of_the_small_cases():
    outlines = label_outlines(SMALL, holes=True)
    assert [label for label, _ in outlines] == [1, 1, 2, 3, 4, 4]
    np.testing.assert_array_equal(outlines[0][1], [[-0.5, -0.5], [-0.5, 3.5], [3.5, 3.5], [3.5, -0.5]])
    np.testing.assert_array_equal(outlines[3][1], [[-0.5, 4.5], [-0.5, 5.5], [0.5, 5.5], [0.5, 4.5]])
    assert label_outlines(EMPTY) == []
    with pytest.raises(InputError, match="expected .Y, X. for outlines"):
        label_outlines(np.ones((2, 3, 4), int))


def test_ten_thousand_outlines_are_fast():
    labels = np.zeros((1300, 1300), np.int32)
    number = np.arange(1, 10001).reshape(100, 100)
    y, x = np.indices((13, 13)) - 6
    disc = y**2 + x**2 < 32
    labels[:] = np.kron(number, disc)
    start = time.perf_counter()
    outlines = label_outlines(labels)
    assert time.perf_counter() - start < 10
    assert len(outlines) == 10000


def test_nesting_does_not_depend_on_the_sense_of_the_rings():
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    outer, hole, island, beside = square * 10, square * 6 + 2, square * 2 + 4, square + 20
    inmost = square * 0.5 + 5
    rings = [inmost, island, hole[::-1], beside[::-1], outer]
    pieces = nest_rings(rings)
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    np.testing.assert_array_equal(pieces[1][1], inmost[::-1])
    np.testing.assert_array_equal(pieces[0][1], hole[::-1])
    np.testing.assert_array_equal(pieces[2][0], beside)
    with pytest.raises(InputError, match="three or more, found the shape .2, 2."):
        nest_rings(square[:2])


@pytest.mark.parametrize("seed", range(4))
def test_nesting_gives_the_holes_to_their_pieces(seed):
    labels = dense_labels(seed)
    for number, rings in zip(*group_rings(label_outlines(labels, holes=True))):
        parts, count = ndimage.label(labels == number)
        pieces = nest_rings(rings[::-1])
        assert len(pieces) == count
        for piece in pieces:
            inside = raster(piece, labels.shape)
            np.testing.assert_array_equal(inside, parts == parts[inside][0])


# GeoJSON


def test_objects_as_geojson(tmp_path):
    numbers, objects = group_rings(label_outlines(SMALL, holes=True))
    path = tmp_path / "deep" / "a.geojson"
    areas = np.array([12.0, np.nan, 1.0, 2.0])
    write_objects_geojson(path, objects, {"label": numbers, "area_px2": areas}, name="nucleus", color=(1, 2, 3))
    content = json.loads(path.read_text())
    assert content["type"] == "FeatureCollection"
    one, two, _, four = content["features"]
    assert one["geometry"]["type"] == "Polygon"
    assert one["geometry"]["coordinates"][0] == [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
    assert len(one["geometry"]["coordinates"]) == 2
    assert one["properties"] == {
        "objectType": "detection",
        "classification": {"name": "nucleus", "color": [1, 2, 3]},
        "measurements": {"label": 1, "area_px2": 12.0},
    }
    assert two["properties"]["measurements"] == {"label": 2}
    assert four["geometry"]["type"] == "MultiPolygon"
    assert [len(piece) for piece in four["geometry"]["coordinates"]] == [1, 1]
    assert len({feature["id"] for feature in content["features"]}) == 4
    for feature in content["features"]:  # counter-clockwise where y runs up, holes the other way round
        pieces = feature["geometry"]["coordinates"]
        for piece in pieces if feature["geometry"]["type"] == "MultiPolygon" else [pieces]:
            for place, ring in enumerate(piece):
                x, y = np.array(ring).T
                assert ((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() > 0) == (place == 0)
    again = read_geojson(path)
    for label, rings in zip(numbers, again.rings):
        np.testing.assert_array_equal(raster(rings, SMALL.shape), label == SMALL)
    assert again.ring_properties[0]["measurements"]["area_px2"] == 12.0
    first = path.read_bytes()
    write_objects_geojson(path, objects, {"label": numbers, "area_px2": areas}, name="nucleus", color=(1, 2, 3))
    assert path.read_bytes() == first


def test_sub_pixel_rings_and_planes_as_geojson(tmp_path):
    rings = [RNG.uniform(0, 100, (32, 2)) for _ in range(3)]
    write_objects_geojson(tmp_path / "a.json", rings, plane=4)
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["features"][0]["geometry"]["plane"] == {"c": -1, "z": 4, "t": 0}
    for before, (after,) in zip(rings, read_geojson(tmp_path / "a.json").rings):
        x, y = before[:, 1], before[:, 0]
        sense = 1 if (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0 else -1
        np.testing.assert_allclose(after, before[::sense], atol=1e-6)


def test_points_as_geojson(tmp_path):
    points = np.array([[0.0, 0.0], [3.25, 7.5]])
    write_points_geojson(tmp_path / "a.geojson", points, {"probability": [0.5, np.inf]})
    first, second = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert first["geometry"] == {"type": "Point", "coordinates": [0.5, 0.5]}
    assert second["geometry"]["coordinates"] == [8.0, 3.75]
    assert [first["properties"]["measurements"], second["properties"]["measurements"]] == [{"probability": 0.5}, {}]
    np.testing.assert_array_equal(read_geojson(tmp_path / "a.geojson").points_px, points)
    deep = np.array([[2.6, 1.0, 5.0], [-0.2, 0.0, 0.0]])
    write_points_geojson(tmp_path / "a.geojson", deep)
    planes = [f["geometry"]["plane"]["z"] for f in json.loads((tmp_path / "a.geojson").read_text())["features"]]
    assert planes == [3, 0]
    np.testing.assert_array_equal(read_geojson(tmp_path / "a.geojson").points_px, deep)


def test_no_objects_as_geojson(tmp_path):
    for write, nothing in ((write_objects_geojson, []), (write_points_geojson, np.zeros((0, 3)))):
        write(tmp_path / "a.geojson", nothing, {"probability": np.zeros(0)})
        assert json.loads((tmp_path / "a.geojson").read_text()) == {"type": "FeatureCollection", "features": []}
        again = read_geojson(tmp_path / "a.geojson")
        assert (again.rings, again.points_px.shape) == ([], (0, 2))


def test_geojson_of_qupath_with_a_multipoint(tmp_path):
    feature = {"type": "Feature", "geometry": {"type": "MultiPoint", "coordinates": [[1.5, 2.5], [3, 4]]}}
    for content in (feature, [feature], {"type": "FeatureCollection", "features": [feature]}):
        (tmp_path / "a.geojson").write_text(json.dumps(content))
        np.testing.assert_array_equal(read_geojson(tmp_path / "a.geojson").points_px, [[2.0, 1.0], [3.5, 2.5]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type": "Feature', "expected GeoJSON, found another format or a cut file"),
        ('{"a": 1}', "found JSON without them"),
        ('[{"geometry": {"type": "LineString", "coordinates": []}}]', "feature 1: .* found 'LineString'"),
        ('[{"geometry": {"type": "Polygon", "coordinates": [["a"]]}}]', "feature 1: expected a geometry with numbers"),
        ('[{"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}]', "feature 1: .*three or more"),
        ('[{"geometry": {"type": "Point", "coordinates": [NaN, 1]}}]', "expected finite coordinates"),
        ('[{"geometry": null}, 3]', "feature 1: expected a geometry"),
    ],
)
def test_foreign_geojson_is_refused(tmp_path, text, message):
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(InputError, match=message):
        read_geojson(tmp_path / "a.geojson")


def test_wrong_objects_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_geojson(tmp_path / "a.geojson")
    with pytest.raises(InputError, match=r"rings\[1\]: expected .V, 2. corners"):
        write_objects_geojson(tmp_path / "a.geojson", [np.eye(3)[:, :2], np.zeros((2, 2))])
    with pytest.raises(InputError, match="properties: expected 1 numbers in area, one a row"):
        write_objects_geojson(tmp_path / "a.geojson", [np.eye(3)[:, :2]], {"area": [1.0, 2.0]})
    assert not list(tmp_path.iterdir())


# napari


def test_napari_points_and_shapes(tmp_path):
    points = np.array([[2.0, 0.1, 5.0], [1 / 3, 7.0, 2.5]])
    write_napari_points(tmp_path / "a.csv", points, {"probability": np.array([0.25, 0.5])})
    rows = list(csv.reader((tmp_path / "a.csv").open()))
    assert rows[0] == ["index", "axis-0", "axis-1", "axis-2", "probability"]
    np.testing.assert_array_equal(np.array(rows[1:], float), [[0, *points[0], 0.25], [1, *points[1], 0.5]])
    rings = [ring for _, ring in label_outlines(SMALL)]
    write_napari_shapes(tmp_path / "b.csv", rings)
    rows = list(csv.DictReader((tmp_path / "b.csv").open()))
    assert list(rows[0]) == ["index", "shape-type", "vertex-index", "axis-0", "axis-1"]
    assert {row["shape-type"] for row in rows} == {"polygon"}
    for number, ring in enumerate(rings):
        mine = [row for row in rows if row["index"] == str(number)]
        assert [int(row["vertex-index"]) for row in mine] == list(range(len(ring)))
        np.testing.assert_array_equal([[float(row["axis-0"]), float(row["axis-1"])] for row in mine], ring)


def test_napari_without_objects(tmp_path):
    write_napari_points(tmp_path / "a.csv", np.zeros((0, 2)))
    assert (tmp_path / "a.csv").read_text() == "index,axis-0,axis-1\n"
    write_napari_shapes(tmp_path / "a.csv", [])
    assert (tmp_path / "a.csv").read_text() == "index,shape-type,vertex-index,axis-0,axis-1\n"


# ImageJ


def test_polygons_for_imagej(tmp_path):
    roifile = pytest.importorskip("roifile")
    pixels = [ring for _, ring in label_outlines(SMALL)]
    smooth = RNG.uniform(0, 500, (32, 2))
    far = np.array([[0.0, 70000.0], [5.0, 70000.0], [5.0, 70009.5]])
    write_imagej_rois(tmp_path / "a.zip", [*pixels, smooth, far], [f"cell {n}" for n in range(len(pixels) + 2)])
    rois = roifile.roiread(tmp_path / "a.zip")
    assert [roi.name for roi in rois] == [f"cell {n}" for n in range(len(pixels) + 2)]
    assert {roi.roitype for roi in rois} == {roifile.ROI_TYPE.POLYGON}
    for ring, roi in zip([*pixels, smooth, far], rois):
        np.testing.assert_allclose(roi.coordinates(), ring[:, ::-1] + 0.5, rtol=1e-7)
    assert rois[0].subpixel_coordinates is None
    assert (rois[0].left, rois[0].top) == (0, 0)
    assert rois[-1].subpixel_coordinates is not None
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist()[0] == "cell 0.roi"
    first = (tmp_path / "a.zip").read_bytes()
    write_imagej_rois(tmp_path / "a.zip", [*pixels, smooth, far], [f"cell {n}" for n in range(len(pixels) + 2)])
    assert (tmp_path / "a.zip").read_bytes() == first  # replaced, not added to


def test_points_for_imagej(tmp_path):
    roifile = pytest.importorskip("roifile")
    points = np.array([[0.0, 0.0], [3.25, 7.5]])
    write_imagej_points(tmp_path / "a.zip", points)
    (roi,) = roifile.roiread(tmp_path / "a.zip")
    assert (roi.roitype, roi.name) == (roifile.ROI_TYPE.POINT, "points")
    np.testing.assert_array_equal(roi.coordinates(), points[:, ::-1])  # from pixel centres, as ImageJ has it
    write_imagej_points(tmp_path / "a.zip", np.column_stack([[1.2, 6.0], points]))
    rois = roifile.roiread(tmp_path / "a.zip")
    assert [(roi.name, roi.position) for roi in rois] == [("points-z0002", 2), ("points-z0007", 7)]
    np.testing.assert_array_equal(rois[1].coordinates(), [[7.5, 3.25]])


def test_imagej_without_objects_and_with_wrong_names(tmp_path):
    pytest.importorskip("roifile")
    for write, nothing in ((write_imagej_rois, []), (write_imagej_points, np.zeros((0, 2)))):
        write(tmp_path / "a.zip", nothing)
        assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == []
    ring = np.eye(3)[:, :2]
    with pytest.raises(InputError, match="expected 2 different names, found 1"):
        write_imagej_rois(tmp_path / "a.zip", [ring, ring], ["a", "a"])
    with pytest.raises(InputError, match="expected names of files, found 'a/b'"):
        write_imagej_rois(tmp_path / "a.zip", [ring], ["a/b"])
    with pytest.raises(InputError, match="ending in .zip"):
        write_imagej_rois(tmp_path / "a.roi", [ring])
