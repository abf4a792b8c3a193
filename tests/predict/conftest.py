"""A small model as prediction sees it."""

from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import nnx

from bioflax.data.normalize import Normalization
from bioflax.functional import purify
from bioflax.models import Direct, Gaussian, Model, UNet


def build(spatial_dims=2, channels=1, head=Direct, offset=100.0, scale=20.0):
    backbone = partial(UNet, channels_in=channels, width=2, depth=1, spatial_dims=spatial_dims)
    module = Model(backbone, partial(head, channels_out=channels), rngs=nnx.Rngs(0))
    net = purify(module)
    return SimpleNamespace(
        net=net,
        variables=jax.tree.map(np.asarray, net.variables),
        normalization=Normalization("mean_std", (offset,), (scale,)),
        spatial_dims=spatial_dims,
        channels_in=channels,
        channels_out=channels,
        receptive_field=module.receptive_field,
        stride=module.stride_total,
    )


@pytest.fixture(scope="session")
def flat_model():
    return build()


@pytest.fixture(scope="session")
def deep_model():
    return build(spatial_dims=3)


@pytest.fixture(scope="session")
def colour_model():
    return build(channels=3)


@pytest.fixture(scope="session")
def uncertain_model():
    return build(head=partial(Gaussian, residual=True))
