"""Files in, files out: windows of bounded size, the pixel type and size kept, nothing half-written."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.io import ImageSink, open_image, save_image
from bioflax.predict import predict, predict_file, predict_maps, scale_path, stream


@pytest.fixture
def counts(tmp_path):
    image = np.random.default_rng(0).poisson(100, (150, 170)).astype(np.uint16)
    save_image(tmp_path / "in.tif", image, "YX", {"Y": 65.0, "X": 65.0})
    return tmp_path / "in.tif", image


def test_a_file_equals_its_array_rounded_and_keeps_axes_and_pixel_size(flat_model, counts, tmp_path):
    path, image = counts
    written = predict_file(flat_model, path, tmp_path / "out.tif", tile=64)
    assert written == {"image": tmp_path / "out.tif"}
    result = open_image(written["image"])
    assert (result.axes, result.shape, result.dtype) == ("YX", image.shape, np.uint16)
    assert result.pixel_nm["X"] == pytest.approx(65.0)
    exact = predict(flat_model, image, tile=None)
    assert np.abs(result.read() - np.clip(exact, 0, 65535)).max() <= 0.5 + 1e-3


def test_only_windows_of_the_size_of_a_tile_are_read_and_written(flat_model, counts, tmp_path, monkeypatch):
    path, image = counts
    source, read, wrote = open_image(path), [], []

    def watch(window):
        read.append(np.prod([span.stop - span.start for span in window]))
        return source.reader(window)

    write = ImageSink.write_window
    monkeypatch.setattr(
        ImageSink, "write_window", lambda sink, index, block: wrote.append(block.size) or write(sink, index, block)
    )
    watched = dataclasses.replace(source, reader=watch)
    predict_file(flat_model, watched, tmp_path / "out.tif", tile=48)
    assert max(read) <= 48 * 48 < image.size
    assert max(wrote) <= 48 * 48
    assert sum(wrote) == image.size


def test_a_stack_and_its_scale_map(uncertain_model, tmp_path):
    image = np.random.default_rng(1).normal(100, 20, (3, 20, 22)).astype(np.float32)
    save_image(tmp_path / "in.ome.tif", image, "TYX")
    written = predict_file(uncertain_model, tmp_path / "in.ome.tif", tmp_path / "out.ome.tif")
    assert written == {"image": tmp_path / "out.ome.tif", "scale": tmp_path / "out_scale.ome.tif"}
    maps = predict_maps(uncertain_model, image, "TYX")
    for name, path in written.items():
        result = open_image(path)
        assert (result.axes, result.dtype) == ("TYX", np.float32)
        np.testing.assert_allclose(result.read(), maps[name], rtol=1e-5)


def test_a_volume(deep_model, tmp_path):
    image = np.random.default_rng(1).normal(100, 20, (9, 30, 31)).astype(np.float32)
    save_image(tmp_path / "in.tif", image, "ZYX")
    written = predict_file(deep_model, tmp_path / "in.tif", tmp_path / "out.tif", tile=(10, 28, 28))
    np.testing.assert_allclose(open_image(written["image"]).read(), predict(deep_model, image, tile=None), atol=1e-3)


def test_the_pixel_type_can_be_chosen(flat_model, counts, tmp_path):
    path, _ = counts
    written = predict_file(flat_model, path, tmp_path / "out.tif", dtype="float32")
    assert open_image(written["image"]).dtype == np.float32


def test_large_outputs_are_bigtiff(flat_model, counts, tmp_path, monkeypatch):
    path, image = counts
    monkeypatch.setattr(stream, "BIGTIFF_BYTES", image.nbytes)
    predict_file(flat_model, path, tmp_path / "big.tif")
    monkeypatch.setattr(stream, "BIGTIFF_BYTES", image.nbytes + 1)
    predict_file(flat_model, path, tmp_path / "classic.tif")
    versions = [(tmp_path / name).read_bytes()[2] for name in ("big.tif", "classic.tif")]
    assert versions == [43, 42]
    np.testing.assert_array_equal(open_image(tmp_path / "big.tif").read(), open_image(tmp_path / "classic.tif").read())


def test_a_failure_leaves_no_output_and_keeps_an_old_one(flat_model, counts, tmp_path):
    path, _ = counts

    class Fails:
        def invert(self, image):
            raise RuntimeError("power cut")

        def apply(self, image):
            return image

        invert_scale = invert

    broken = SimpleNamespace(**(vars(flat_model) | {"normalization": Fails()}))
    (tmp_path / "old.tif").write_bytes(b"old")
    for name in ("new.tif", "old.tif"):
        with pytest.raises(RuntimeError, match="power cut"):
            predict_file(broken, path, tmp_path / name)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in.tif", "old.tif"]
    assert (tmp_path / "old.tif").read_bytes() == b"old"


def test_the_input_is_never_the_output(flat_model, counts):
    path, _ = counts
    with pytest.raises(InputError, match="output: expected another file than the input"):
        predict_file(flat_model, path, path)


def test_a_bad_output_is_told_before_the_work(flat_model, counts, tmp_path):
    path, _ = counts
    done = []
    for output, dtype, message in [
        ("out.jpg", None, "ending in .tif"),
        ("out.tif", "float8", "dtype: expected one of"),
    ]:
        with pytest.raises(InputError, match=message):
            predict_file(
                flat_model, path, tmp_path / output, dtype=dtype, on_progress=lambda *tiles: done.append(tiles)
            )
    assert not done and [entry.name for entry in tmp_path.iterdir()] == ["in.tif"]


def test_names_of_scale_maps(tmp_path):
    assert scale_path(tmp_path / "a.b.tif") == tmp_path / "a.b_scale.tif"
    assert scale_path(tmp_path / "a.ome.tiff") == tmp_path / "a_scale.ome.tiff"
