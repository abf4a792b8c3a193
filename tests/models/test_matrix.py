"""Every backbone under every head: each pair predicts, or is refused for a stated reason."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from bioflax.errors import InputError
from bioflax.models import (
    DECODE,
    DFCAN,
    EDSR,
    RCAN,
    CentreHead,
    DeepSTORM3D,
    Direct,
    DnCNN,
    EmitterHead,
    Gaussian,
    Laplace,
    LiteLoc,
    Model,
    Residual,
    SpotHead,
    SRResNet,
    StarHead,
    SwinIR,
    UNet,
    VolumeHead,
)
from bioflax.models.model import BACKBONES as ALL_BACKBONES
from bioflax.models.model import HEADS as ALL_HEADS

BACKBONES = {
    "UNet": partial(UNet, width=2, depth=1, convs=1),
    "UNet grid 2": partial(UNet, width=2, depth=1, convs=1, grid=2),
    "UNet 3-D": partial(UNet, width=2, depth=1, convs=1, spatial_dims=3),
    "DnCNN": partial(DnCNN, width=2, layers=2),
    "DECODE": partial(DECODE, width=2, depth=1, convs=1),
    "LiteLoc": partial(LiteLoc, width=2, dilations=(2,)),
    "DeepSTORM3D": partial(DeepSTORM3D, width=2, dilations=(2,)),
    "EDSR": partial(EDSR, width=2, blocks=1),
    "RCAN": partial(RCAN, width=2, groups=1, blocks=1, reduction=2),
    "RCAN 3-D": partial(RCAN, width=2, groups=1, blocks=1, reduction=2, spatial_dims=3),
    "SRResNet": partial(SRResNet, width=2, blocks=1),
    "SRResNet 3-D": partial(SRResNet, width=2, blocks=1, first_kernel=3, spatial_dims=3),
    "DFCAN": partial(DFCAN, width=2, groups=1, blocks=1, reduction=2, spectrum=8),
    "SwinIR": partial(SwinIR, embed=4, depths=(2,), heads=(2,), window=4),
}
RESTORING = {
    "Direct": Direct,
    "Residual": Residual,
    "Gaussian": Gaussian,
    "Laplace": Laplace,
    "Direct x2": partial(Direct, **Direct.edsr(2)),
    "Residual x2": partial(Residual, upscale=2, tail="direct"),
    "Gaussian x2": partial(Gaussian, upscale=2, tail="srresnet"),
    "Laplace x2": partial(Laplace, upscale=2, tail="dfcan"),
    "Residual over frames x2": partial(Residual, upscale=2, tail="swinir", over_frames=True),
}
LOCALIZING = {
    "EmitterHead": partial(EmitterHead, width=2),
    "VolumeHead": partial(VolumeHead, width=2, planes=2),
}
DETECTING = {
    "StarHead": partial(StarHead, rays=4, width=2),
    "SpotHead": partial(SpotHead, levels=1, convs=1),
    "CentreHead": partial(CentreHead, width=2),
}
HEADS = {**RESTORING, **LOCALIZING, **DETECTING}

COARSE = "needs a map at full resolution; the finest map of UNet has stride 2"
PLANAR = "head.spatial_dims: expected one of 2; found 3"
FRAMES = "adds to the input, which has 3 channels; found channels_out=1"
IN_3D = [name for name in BACKBONES if name.endswith("3-D")]
ADDING = [name for name in RESTORING if not name.startswith("Direct") and "frames" not in name]
REFUSED = {
    **{("UNet grid 2", head): COARSE for head in (*RESTORING, *LOCALIZING)},
    **{(backbone, head): PLANAR for backbone in IN_3D for head in (*LOCALIZING, "StarHead")},
    **{(backbone, head): FRAMES for backbone in ("DECODE", "LiteLoc") for head in ADDING},
}
OUTPUTS = {
    "Direct": {"image"},
    "Residual": {"image"},
    "Gaussian": {"image", "scale"},
    "Laplace": {"image", "scale"},
    "EmitterHead": {"logit", "mean", "spread", "background"},
    "VolumeHead": {"volume"},
    "StarHead": {"logit", "rays"},
    "SpotHead": {"logit", "flow"},
    "CentreHead": {"logit", "offset", "size"},
}


def test_the_matrix_holds_every_backbone_and_head():
    assert {make.func for make in BACKBONES.values()} == set(ALL_BACKBONES)
    assert {getattr(make, "func", make) for make in HEADS.values()} == set(ALL_HEADS)
    assert set(OUTPUTS) == {head.__name__ for head in ALL_HEADS}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_pair_predicts_or_says_why_not(backbone, head):
    made = []

    def run(image):
        made.append(Model(BACKBONES[backbone], HEADS[head], rngs=nnx.Rngs(0)))
        return made[0](image)

    planes = (4,) if backbone in IN_3D else ()
    frames = 3 if backbone in ("DECODE", "LiteLoc") else 1
    image = jax.ShapeDtypeStruct((1, *planes, 8, 16, frames), jnp.float32)
    if (backbone, head) in REFUSED:
        with pytest.raises(InputError) as refusal:
            jax.eval_shape(run, image)
        assert REFUSED[backbone, head] in str(refusal.value)
        return
    prediction = jax.eval_shape(run, image)
    model = made[0]
    assert set(prediction) == OUTPUTS[head.split()[0]]
    assert {value.dtype for value in prediction.values()} == {jnp.dtype(jnp.float32)}
    if head in RESTORING:
        fine = (8 * model.upscale, 16 * model.upscale)
        assert model.upscale == (2 if "x2" in head else 1)
        assert {value.shape for value in prediction.values()} == {(1, *planes, *fine, 1)}
    elif head != "VolumeHead":
        cells = (8 // model.grid, 16 // model.grid)
        assert {value.shape[:-1] for value in prediction.values()} == {(1, *planes, *cells)}
    assert model.receptive_field % 2 == 1 and model.receptive_field >= model.backbone.receptive_field
