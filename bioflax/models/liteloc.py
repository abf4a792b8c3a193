"""The backbone of LiteLoc: features of single frames at half resolution, merged, dilated and refined."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from flax import nnx

from bioflax.models.blocks import LateNormStage, check_count, check_image, late_norm, reach
from bioflax.models.decode import apart, beside, check_frames, neighbours
from bioflax.ops.resample import average_pool, max_pool, upsample_nearest


class LiteLoc(nnx.Module):
    """A light network for localization, with batch norm.

    `Model(LiteLoc, partial(EmitterHead, **EmitterHead.liteloc()))` is the published network, 1,332,299 parameters.
    Source: LiteLoc, https://github.com/Li-Lab-SUSTech/LiteLoc (network/liteloc.py).

    Args:
        channels_in: consecutive frames of an image, odd: those before, the frame itself (the middle one), those after.
        width: channels.
        dilations: of the context layers, in pixels at half resolution.
        init: a name in `bioflax.models.blocks.INITIALIZERS`.
    """

    def __init__(
        self,
        channels_in: int = 3,
        width: int = 64,
        dilations: Sequence[int] = (2, 4, 8, 16),
        *,
        init: str = "he_normal",
        rngs: nnx.Rngs,
    ) -> None:
        check_frames(channels_in)
        check_count("width", width)
        self.channels_in, self.width, self.dilations, self.init = channels_in, width, tuple(dilations), init

        def stage(into: int, out: int = 1, dilation: int = 1) -> LateNormStage:
            return LateNormStage(into * width, out * width, dilation=dilation, init=init, rngs=rngs)

        self.norm = late_norm(1)
        self.first = LateNormStage(1, width, init=init, rngs=rngs)
        self.frame = nnx.Dict(conv0=stage(1), conv1=stage(2), conv2=stage(2))
        self.merge = stage(channels_in + 1)
        self.context = nnx.Dict({f"conv{i}": stage(2, dilation=dilation) for i, dilation in enumerate(self.dilations)})
        self.refine = nnx.Dict(
            down0=stage(2),
            down1=stage(1),
            down2=stage(1, 2),
            down3=stage(2, 2),
            up0=stage(2),
            up1=stage(2),
            up2=stage(1),
        )
        self.last = nnx.Dict(conv0=stage(1), conv1=stage(1))
        self.spatial_dims = 2
        self.widths = (width,)
        self.strides = (1,)
        self.stride_total = 4
        refined = [2, "up", 3, "up", 3, "down", 1]
        path = [*refined, sum(self.dilations), 1, 3, "down", 1]
        self.receptive_field = 1 + 2 * reach(path, self.stride_total)

    def __call__(self, image: jax.Array) -> tuple[jax.Array]:
        """Runs the network.

        Args:
            image: (N, H, W, C), C consecutive frames; H and W multiples of `stride_total`.

        Returns:
            One map of `width` channels at full resolution.
        """
        check_image(image, self.channels_in, self.stride_total)
        early, late = self._encode(apart(image))
        middle = slice(self.channels_in // 2, None, self.channels_in)
        return self._decode(beside(late, self.channels_in), late[middle], early[middle])

    def sequence(self, frames: jax.Array) -> tuple[jax.Array]:
        """Runs the network along a movie; every frame is encoded once, where `__call__` encodes it C times.

        Args:
            frames: (T, H, W, 1) consecutive frames.

        Returns:
            One map for each of the T - C + 1 frames that have all their neighbours.
        """
        check_image(frames, 1, self.stride_total)
        early, late = self._encode(frames)
        joined = neighbours(late, self.channels_in)
        middle = slice(self.channels_in // 2, self.channels_in // 2 + joined.shape[0])
        return self._decode(joined, late[middle], early[middle])

    def _encode(self, frames: jax.Array) -> tuple[jax.Array, jax.Array]:
        early = max_pool(self.first(self.norm(frames)))
        late = self.frame.conv0(early)
        for name in ("conv1", "conv2"):
            late = self.frame[name](late, early) + late
        return early, late

    def _decode(self, joined: jax.Array, late: jax.Array, early: jax.Array) -> tuple[jax.Array]:
        out = self.merge(joined, early) + late
        sums = []
        for i in range(len(self.dilations)):
            before = out
            out = self.context[f"conv{i}"](before, early) + before
            if i > 1 and i == len(self.dilations) - 1:  # as published, the last layer also takes the first one's sum
                out = out + sums[0]
            sums.append(out)
        fine = self.refine.down0(out, early)
        out = average_pool(fine)
        for name in ("down1", "down2", "down3"):
            out = self.refine[name](out)
        out = self.refine.up0(upsample_nearest(out))
        out = self.refine.up2(self.refine.up1(out, fine))
        return (self.last.conv1(self.last.conv0(upsample_nearest(out))),)
