"""Small models with random weights as prediction sees them."""

import dataclasses
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from bioflax.data.normalize import Normalization
from bioflax.functional import map_paths, outline, purify
from bioflax.models import Direct, Gaussian, Model, UNet


def build_net(backbone, head=Direct):
    """A module's outline and its net, with weights from NumPy: JAX's initialisers would compile once a shape."""
    module = outline(lambda rngs: Model(backbone, head, rngs=rngs))
    generator = np.random.default_rng(0)

    def weights(path, leaf):
        drawn = generator.normal(size=leaf.shape) / np.sqrt(max(1, np.prod(leaf.shape[:-1])))
        return (0.5 + np.abs(drawn) if path.endswith("/var") else drawn).astype(np.float32)

    net = purify(module)
    return module, dataclasses.replace(net, variables=map_paths(weights, net.variables))


def build_model(spatial_dims=2, channels=1, head=Direct):
    backbone = partial(UNet, channels_in=channels, width=2, depth=1, spatial_dims=spatial_dims)
    module, net = build_net(backbone, partial(head, channels_out=channels))
    return SimpleNamespace(
        net=net,
        variables=net.variables,
        normalization=Normalization("mean_std", (100.0,), (20.0,)),
        spatial_dims=spatial_dims,
        channels_in=channels,
        channels_out=channels,
        receptive_field=module.receptive_field,
        stride=module.stride_total,
        upscale=module.upscale,
        patch=None,
        blind_spot=True,
    )


@pytest.fixture(scope="session")
def make_net():
    return build_net


@pytest.fixture(scope="session")
def flat_model():
    return build_model()


@pytest.fixture(scope="session")
def deep_model():
    return build_model(spatial_dims=3)


@pytest.fixture(scope="session")
def colour_model():
    return build_model(channels=3)


@pytest.fixture(scope="session")
def uncertain_model():
    return build_model(head=Gaussian)
