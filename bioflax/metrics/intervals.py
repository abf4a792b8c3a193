"""How sure is a mean over few images? Bootstrap intervals, plain, paired, and by group."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from bioflax.errors import InputError


def bootstrap(
    values: Any,
    level: float = 0.95,
    seed: int = 0,
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron & Tibshirani 1993, ch. 13).

    Args:
        values: (N,) one number an image.
        level: probability that the interval aims to cover, in (0, 1).
        seed: the same numbers give the same interval.
        groups: (N,) which values belong together, such as the field of view of repeated captures. Whole groups are
            resampled, since captures of one field are not independent. None treats every value as its own group.
        resamples: bootstrap samples drawn.

    Returns:
        (low, high); NaN for fewer than two groups, which say nothing about their spread.

    Raises:
        InputError: no values, a NaN among them, a bad level, or groups of another length.
    """
    values = np.asarray(values, np.float64).ravel()
    if values.size == 0 or np.isnan(values).any():
        raise InputError(
            f"values: expected at least one number and no NaN, found {values.size} values, "
            f"{int(np.isnan(values).sum())} NaN. Leave out images without a result."
        )
    if not 0 < level < 1:
        raise InputError(f"level: expected a probability in (0, 1), found {level}. Use 0.95 for 95 %.")
    names = range(values.size) if groups is None else groups
    if len(names) != values.size:
        raise InputError(
            f"groups: expected one an entry of values ({values.size}), found {len(names)}. Name each group."
        )
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    if len(number) < 2:
        return float("nan"), float("nan")
    member = np.fromiter((number[name] for name in names), int, values.size)
    totals, counts = np.bincount(member, values), np.bincount(member)
    generator = np.random.default_rng(seed)
    means = []
    # Blocks of about a million draws bound the memory for long tables
    block = max(1, 1_000_000 // len(number))
    for start in range(0, resamples, block):
        drawn = generator.integers(0, len(number), (min(block, resamples - start), len(number)))
        means.append(totals[drawn].sum(1) / counts[drawn].sum(1))
    # No interpolation: an infinite value (a perfect image in dB) must not turn into NaN
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(low), float(high)


def paired_bootstrap(
    a: Any,
    b: Any,
    level: float = 0.95,
    seed: int = 0,
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
) -> tuple[float, float]:
    """Bootstrap interval of the mean difference a - b over the same images; without zero inside, they differ.

    Args:
        a, b: (N,) results of two methods, image by image.
        level, seed, groups, resamples: as `bootstrap`.

    Returns:
        (low, high) of mean(a - b).

    Raises:
        InputError: as `bootstrap`, or lengths differ.
    """
    a, b = (np.asarray(values, np.float64).ravel() for values in (a, b))
    if a.shape != b.shape:
        raise InputError(f"a/b: expected results of the same images, found {a.size} and {b.size}. Pair them by image.")
    return bootstrap(a - b, level, seed, groups=groups, resamples=resamples)
