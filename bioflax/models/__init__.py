"""Networks: backbones in 2-D and 3-D, heads, and the model that joins one of each."""

from bioflax.models.blocks import BatchNorm, Conv
from bioflax.models.decode import DECODE
from bioflax.models.deepstorm3d import DeepSTORM3D, VolumeHead
from bioflax.models.detection_heads import CentreHead, SpotHead, StarHead
from bioflax.models.dfcan import DFCAN
from bioflax.models.dncnn import DnCNN
from bioflax.models.edsr import EDSR
from bioflax.models.emitter_head import EmitterHead
from bioflax.models.heads import Direct, Gaussian, Laplace, Residual
from bioflax.models.liteloc import LiteLoc
from bioflax.models.model import Model, build_from, describe
from bioflax.models.rcan import RCAN
from bioflax.models.srresnet import SRResNet
from bioflax.models.swinir import SwinIR
from bioflax.models.unet import UNet
from bioflax.models.upsample import Upsampler

__all__ = [
    "DECODE",
    "DFCAN",
    "EDSR",
    "RCAN",
    "BatchNorm",
    "CentreHead",
    "Conv",
    "DeepSTORM3D",
    "Direct",
    "DnCNN",
    "EmitterHead",
    "Gaussian",
    "Laplace",
    "LiteLoc",
    "Model",
    "Residual",
    "SRResNet",
    "SpotHead",
    "StarHead",
    "SwinIR",
    "UNet",
    "Upsampler",
    "VolumeHead",
    "build_from",
    "describe",
]
