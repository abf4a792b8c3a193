"""A small trained model and its card."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from flax import nnx

from bioflax.functional import count, purify
from bioflax.hub import ModelCard
from bioflax.models import Gaussian, Model, UNet, describe


@pytest.fixture(scope="session")
def trained():
    module = Model(partial(UNet, width=2, depth=1, norm="batch"), Gaussian, rngs=nnx.Rngs(0))
    net = purify(module)
    card = ModelCard(
        name="beads",
        task="denoise",
        architecture=describe(module),
        normalization={"kind": "mean_std", "offset": [100.0], "scale": [20.0]},
        axes="YX",
        scheme="noise2noise",
        receptive_field=module.receptive_field,
        parameters=count(net.variables),
        pixel_nm={"Y": 65.0, "X": 65.0},
        trained_on={"images": 3, "captures": 6, "folder": "beads"},
        metrics={"psnr_db": 34.1, "ssim": 0.91},
        bounds={"psnr_db": 36.0},
        baselines={"gaussian": {"psnr_db": 31.2, "ssim": 0.84}, "median": {"psnr_db": 30.05}},
        licence="CC-BY-4.0",
        versions={"jax": "0.10.2"},
        seed=7,
        command="bioflax train experiment=beads",
    )
    test_input = np.random.default_rng(0).normal(100, 20, (1, 8, 10, 1)).astype(np.float32)
    return SimpleNamespace(card=card, net=net, variables=net.variables, test_input=test_input)
