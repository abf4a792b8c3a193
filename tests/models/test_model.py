"""Heads on backbones, and the description that rebuilds a model from plain JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioflax.errors import InputError
from bioflax.models import Direct, DnCNN, Gaussian, Laplace, Model, Residual, UNet, build_from, describe

SMALL = partial(UNet, width=2, depth=1, convs=1)
IMAGE = jax.random.normal(jax.random.key(0), (2, 4, 6, 1))


@pytest.mark.parametrize("head", [Residual, Gaussian, Laplace])
def test_residual_heads_add_to_the_input(head):
    model = Model(SMALL, head, rngs=nnx.Rngs(0))
    nnx.update(model.head, jax.tree.map(jnp.zeros_like, nnx.state(model.head)))
    prediction = model(IMAGE)
    np.testing.assert_array_equal(prediction["image"], IMAGE)
    if head is not Residual:
        np.testing.assert_allclose(prediction["scale"], np.log(2) + 1e-3, rtol=1e-6)  # softplus(0) and the floor


@pytest.mark.parametrize("head", [Direct, partial(Gaussian, residual=False), partial(Laplace, residual=False)])
def test_other_heads_predict_the_image_itself(head):
    model = Model(SMALL, partial(head, channels_out=3), rngs=nnx.Rngs(0))
    nnx.update(model.head, jax.tree.map(jnp.zeros_like, nnx.state(model.head)))
    prediction = model(IMAGE)
    np.testing.assert_array_equal(prediction["image"], np.zeros((2, 4, 6, 3)))
    assert model.channels_out == 3


def test_scale_stays_positive_however_negative_its_logit():
    model = Model(SMALL, Laplace, rngs=nnx.Rngs(0))
    model.head.scale.bias[...] = jnp.array([-100.0])
    assert float(model(IMAGE)["scale"].min()) >= 1e-3


def test_model_tells_what_prediction_needs():
    backbone = partial(UNet, width=2, depth=2, spatial_dims=3, channels_in=2)
    model = nnx.eval_shape(lambda: Model(backbone, partial(Direct, kernel=3), rngs=nnx.Rngs(0)))
    assert (model.spatial_dims, model.channels_in, model.channels_out, model.stride_total) == (3, 2, 1, 4)
    assert model.receptive_field == model.backbone.receptive_field + 2


def test_ready_modules_are_taken_as_they_are():
    backbone = SMALL(rngs=nnx.Rngs(0))
    head = Direct(backbone.widths, rngs=nnx.Rngs(1))
    assert Model(backbone, head).backbone is backbone
    with pytest.raises(InputError, match="rngs: expected"):
        Model(backbone, Direct)


@pytest.mark.parametrize(
    ("backbone", "head", "words"),
    [
        (SMALL, partial(Residual, channels_out=2), "Residual adds to the input, which has 1 channels"),
        (SMALL, partial(Gaussian, channels_out=2), "take a head that is not residual"),
        (SMALL, Direct((7,), rngs=nnx.Rngs(0)), r"Direct was built for widths \(7,\); UNet has \(2, 2\)"),
        (SMALL, Direct((2, 2), spatial_dims=3, rngs=nnx.Rngs(0)), "Direct is 3-D; UNet is 2-D"),
        ("unet", Direct, "backbone: expected a module or a function"),
    ],
)
def test_a_head_that_does_not_fit_is_named(backbone, head, words):
    with pytest.raises(InputError, match=words):
        Model(backbone, head, rngs=nnx.Rngs(0))


def test_a_backbone_without_a_full_resolution_map_is_named():
    coarse = SMALL(rngs=nnx.Rngs(0))
    coarse.strides = (2, 4)
    with pytest.raises(InputError, match="Direct needs a map at full resolution; the finest map of UNet has stride 2"):
        Model(coarse, Direct, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    "model",
    [
        partial(Model, partial(UNet, width=2, depth=1, pool="max_blur", top_skip=False, norm="batch"), Laplace),
        partial(Model, partial(DnCNN, width=2, layers=3), partial(Residual, **Residual.dncnn())),
        partial(Model, partial(UNet, width=2, depth=1, spatial_dims=3), partial(Gaussian, residual=False)),
        partial(UNet, width=2, depth=1, activation="leaky_relu"),
    ],
    ids=["n2v2", "dncnn", "3d", "backbone alone"],
)
def test_description_survives_json_and_rebuilds_the_same_structure(model):
    original = model(rngs=nnx.Rngs(0))
    description = json.loads(json.dumps(describe(original)))
    rebuilt = build_from(description, nnx.Rngs(0))
    assert describe(rebuilt) == description
    for a, b in zip(jax.tree.leaves(nnx.state(original)), jax.tree.leaves(nnx.state(rebuilt)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert nnx.graphdef(original) == nnx.graphdef(rebuilt)


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"name": "os.system", "arguments": {}}, "architecture.name: expected one of Model, UNet"),
        ({"name": "UNet", "arguments": {"widht": 3}}, "architecture.arguments: UNet takes channels_in, width"),
        ({"name": "UNet"}, "architecture: expected the keys name and arguments"),
        ({"name": "UNet", "arguments": {"width": -3}}, "width: expected a whole number of at least 1"),
        ({"name": "Direct", "arguments": {}}, "architecture.arguments: Direct cannot be built"),
    ],
)
def test_bad_descriptions_are_named(description, words):
    with pytest.raises(InputError, match=words):
        build_from(description, nnx.Rngs(0))


def test_only_modules_of_this_package_are_described():
    with pytest.raises(InputError, match="expected one of Model, UNet"):
        describe(nnx.Linear(1, 1, rngs=nnx.Rngs(0)))


def test_parameters_are_nested_by_names_and_lists_become_tuples():
    model = Model(SMALL, partial(Direct), rngs=nnx.Rngs(0))
    paths = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model)))
    assert all(isinstance(key.key, str) for path, _ in paths for key in path)
    assert Direct([2, 2], rngs=nnx.Rngs(0)).widths == (2, 2)
    assert hash(nnx.graphdef(model)) is not None


def test_import_pulls_in_no_configuration_checkpoint_or_file_library():
    code = "import sys, bioflax.models; print([m for m in ('hydra', 'orbax', 'tifffile') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
