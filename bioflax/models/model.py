"""A backbone and a head as one module, and its plain-JSON description."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.decode import DECODE
from bioflax.models.deepstorm3d import DeepSTORM3D, VolumeHead
from bioflax.models.detection_heads import CentreHead, SpotHead, StarHead
from bioflax.models.dfcan import DFCAN
from bioflax.models.dncnn import DnCNN
from bioflax.models.edsr import EDSR
from bioflax.models.emitter_head import EmitterHead
from bioflax.models.heads import Direct, Gaussian, Laplace, Residual
from bioflax.models.liteloc import LiteLoc
from bioflax.models.rcan import RCAN
from bioflax.models.srresnet import SRResNet
from bioflax.models.swinir import SwinIR
from bioflax.models.unet import UNet


class Model(nnx.Module):
    """A head on a backbone. The head takes its channel counts and its dimensions from the backbone.

    What prediction needs: `receptive_field` and `stride_total` in pixels of the input, `upscale`, and `whole_image`, true
    where features also depend on the whole tile (channel attention): then tiles do not exactly equal the whole.

    Args:
        backbone: a backbone, or a function of `rngs` that makes one (a class, a partial).
        head: a head, or a function of `widths`, `spatial_dims` and `rngs` that makes one.
        rngs: source of the initial parameters; not needed where both are ready modules.

    Raises:
        InputError: the head cannot stand on the backbone.
    """

    def __init__(self, backbone: Callable[..., Any], head: Callable[..., Any], *, rngs: nnx.Rngs | None = None) -> None:
        for field, part in {"backbone": backbone, "head": head}.items():
            if not callable(part):
                raise InputError(f"{field}: expected a module or a function of rngs that makes one; found {part!r}")
            if rngs is None and not isinstance(part, nnx.Module):
                raise InputError(f"rngs: expected flax.nnx.Rngs to initialise {field}; found None")
        self.backbone = backbone if isinstance(backbone, nnx.Module) else backbone(rngs=rngs)
        dims = self.backbone.spatial_dims
        self.head = (
            head if isinstance(head, nnx.Module) else head(widths=self.backbone.widths, spatial_dims=dims, rngs=rngs)
        )
        self.spatial_dims = dims
        self.channels_in = self.backbone.channels_in
        self.channels_out = self.head.channels_out
        self.stride_total = self.backbone.stride_total
        self.grid = self.backbone.strides[0]  # pixels of the image to a cell of the prediction
        self.upscale = getattr(self.head, "upscale", 1)  # pixels of a restored image along a pixel of the input
        window = getattr(self.head, "window", self.head.kernel)
        self.receptive_field = self.backbone.receptive_field + (window - 1) * self.grid
        self.whole_image = getattr(self.backbone, "whole_image", False)
        _check_fit(self.backbone, self.head)

    def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
        """Restores a batch.

        Args:
            image: (N, [Z,] H, W, C) float32, every spatial size a multiple of `stride_total`.

        Returns:
            The head's prediction, such as {"image": (N, [Z,] s H, s W, channels_out) float32} with s = `upscale`.
        """
        return self.head(self.backbone(image), image)


BACKBONES = (UNet, DnCNN, DECODE, LiteLoc, DeepSTORM3D, EDSR, RCAN, SRResNet, DFCAN, SwinIR)
HEADS = (Direct, Residual, Gaussian, Laplace, EmitterHead, VolumeHead, StarHead, SpotHead, CentreHead)
PARTS: dict[str, type[nnx.Module]] = {part.__name__: part for part in (Model, *BACKBONES, *HEADS)}


def describe(module: nnx.Module) -> dict[str, Any]:
    """Describes a module of `bioflax.models` by its class name and constructor arguments, as plain JSON.

    Args:
        module: a model, backbone or head.

    Returns:
        {"name": class name, "arguments": {...}}; a module among the arguments is described in turn.
    """
    name = type(module).__name__
    if PARTS.get(name) is not type(module):
        raise InputError(f"module: expected one of {', '.join(PARTS)}; found {name}")
    return {"name": name, "arguments": {key: _plain(getattr(module, key)) for key in _arguments(type(module))}}


def build_from(description: Mapping[str, Any], rngs: nnx.Rngs) -> Any:
    """Builds the module that `describe` described; only the classes of `bioflax.models` can be named.

    Args:
        description: {"name": ..., "arguments": {...}}.
        rngs: source of the initial parameters.

    Returns:
        The module, with fresh parameters.

    Raises:
        InputError: an unknown name, a missing key, an unknown or missing argument.
    """
    if not isinstance(description, Mapping) or set(description) != {"name", "arguments"}:
        raise InputError(f"architecture: expected the keys name and arguments; found {description!r}")
    name, arguments = description["name"], description["arguments"]
    if name not in PARTS:
        raise InputError(f"architecture.name: expected one of {', '.join(PARTS)}; found {name!r}")
    valid = _arguments(PARTS[name])
    if not isinstance(arguments, Mapping) or not set(arguments) <= set(valid):
        raise InputError(f"architecture.arguments: {name} takes {', '.join(valid)}; found {arguments!r}")
    built = {key: build_from(value, rngs) if isinstance(value, Mapping) else value for key, value in arguments.items()}
    try:
        return PARTS[name](**built, rngs=rngs)
    except TypeError as cause:
        raise InputError(f"architecture.arguments: {name} cannot be built: {cause}") from cause


def _arguments(part: type[nnx.Module]) -> list[str]:
    return [name for name in inspect.signature(part.__init__).parameters if name not in ("self", "rngs")]


def _plain(value: Any) -> Any:
    if isinstance(value, nnx.Module):
        return describe(value)
    return list(value) if isinstance(value, tuple) else value


def _check_fit(backbone: Any, head: Any) -> None:
    name, under = type(head).__name__, type(backbone).__name__
    if backbone.strides[0] != 1 and not getattr(head, "any_stride", False):
        raise InputError(
            f"head: {name} needs a map at full resolution; the finest map of {under} has stride {backbone.strides[0]}"
        )
    if tuple(head.widths) != tuple(backbone.widths):
        raise InputError(f"head: {name} was built for widths {head.widths}; {under} has {backbone.widths}")
    if head.spatial_dims != backbone.spatial_dims:
        raise InputError(f"head: {name} is {head.spatial_dims}-D; {under} is {backbone.spatial_dims}-D")
    over_frames = getattr(head, "over_frames", False)
    if head.residual and head.channels_out != backbone.channels_in and not over_frames:
        raise InputError(
            f"head: {name} adds to the input, which has {backbone.channels_in} channels; found channels_out="
            f"{head.channels_out}. Set channels_out={backbone.channels_in}, over_frames=true to add the mean of frames of"
            " one field, or take a head that is not residual"
        )
