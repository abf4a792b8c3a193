"""Networks: backbones in 2-D and 3-D, heads, and the model that joins one of each."""

from bioflax.models.blocks import BatchNorm, Conv
from bioflax.models.dncnn import DnCNN
from bioflax.models.heads import Direct, Gaussian, Laplace, Residual
from bioflax.models.model import Model, build_from, describe
from bioflax.models.unet import UNet

__all__ = [
    "BatchNorm",
    "Conv",
    "Direct",
    "DnCNN",
    "Gaussian",
    "Laplace",
    "Model",
    "Residual",
    "UNet",
    "build_from",
    "describe",
]
