"""The memory model is an upper estimate, and out-of-memory errors are recognised."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.functional import outline, purify
from bioflax.models import Model, Residual, UNet
from bioflax.predict import memory


def make(width):
    backbone = partial(UNet, width=width, depth=1)
    return purify(outline(lambda rngs: Model(backbone, Residual, rngs=rngs)))


def test_peak_of_a_known_program():
    # image, a and b alive at once while b is made; a is used again at the end.
    def apply(variables, image):
        a = jnp.tile(image, (1, 1, 1, 4))
        b = jnp.tile(a, (1, 1, 1, 2))
        return {"image": jnp.sum(b, -1, keepdims=True) + jnp.sum(a, -1, keepdims=True)}

    assert memory.bytes_per_pixel(jax.jit(apply), {}, 1, (1, 1), (1, 1)) >= 4 * (1 + 4 + 8)
    assert memory.bytes_per_pixel(apply, {}, 1, (1, 1), (1, 1)) < 4 * 3 * (1 + 4 + 8)


def test_estimate_is_above_what_the_compiler_takes_and_not_far():
    net = make(8)
    estimate = memory.bytes_per_pixel(net.apply, net.variables, 1, (16, 16), (2, 2))
    image = jax.ShapeDtypeStruct((1, 128, 128, 1), np.float32)
    plan = jax.jit(net.apply).lower(net.variables, image).compile().memory_analysis()
    taken = (plan.temp_size_in_bytes + plan.output_size_in_bytes) / 128**2
    assert taken <= estimate <= 3 * taken


def test_estimate_grows_with_the_width():
    sizes = []
    for width in (4, 8):
        net = make(width)
        sizes.append(memory.bytes_per_pixel(net.apply, net.variables, 1, (16, 16), (2, 2)))
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=0.1)


def test_available_memory_is_that_of_the_machine_or_its_container(tmp_path, monkeypatch):
    assert 1e8 < memory.available_bytes() < 1e13
    (tmp_path / "memory.max").write_text("3000000000\n")
    (tmp_path / "memory.current").write_text("1200000000\n")
    (tmp_path / "memory.stat").write_text("anon 500000000\ninactive_file 200000000\n")
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    assert memory._container_bytes() == 2e9
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._container_bytes() == np.inf


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (np._core._exceptions._ArrayMemoryError((1,), np.dtype(float)), True),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"), True),
        (jax.errors.JaxRuntimeError("INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory"), True),
        (jax.errors.JaxRuntimeError("INVALID_ARGUMENT: shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert memory.is_out_of_memory(error) is expected
