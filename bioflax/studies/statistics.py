"""How sure is a pooled score, a difference, a threshold? Bootstrap over test items and seeds, and Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.studies.tally import Tally, ratio

# Seeds of two models are drawn apart, those of one model everywhere alike: streams of the generator.
ITEMS, SEEDS_A, SEEDS_B = 0, 1, 2


@dataclass(frozen=True)
class Effect:
    """A paired difference a - b with its interval and two-sided p."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Threshold:
    """Where a curve first crosses a target.

    Attributes:
        value: level of the crossing; None where the curve never crosses.
        low, high: interval; None where it goes on beyond the levels on that side.
        share_found: share of the resampled curves that cross.
        side: `crossed`, or on which side of the target all of the curve lies: `above`, `below`; `unknown` without values.
    """

    value: float | None
    low: float | None
    high: float | None
    share_found: float
    side: str


def interval(tally: Tally, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of a pooled score, over items and, with several seeds, over seeds.

    Items and seeds are resampled apart, items alike for all seeds (Owen 2007). Resampling K things understates their
    variance by (K - 1) / K, which matters for few seeds: deviations are stretched by the root of the inverse
    (Hesterberg 2015). With two seeds the spread between seeds stays poorly known.

    Args:
        tally: sums (N,) or (S, N).
        level: probability that the interval aims to cover, in (0, 1).
        resamples: bootstrap samples.
        seed: the same sums and seed give the same interval.

    Returns:
        (low, high); NaN for fewer than two items.

    Raises:
        InputError: level outside (0, 1).

    Source:
        Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1 (2007); Hesterberg, What teachers should know about the
        bootstrap, Am. Stat. 69 (2015).
    """
    return _quantiles(resample(tally, resamples, seed), level)


def difference(
    a: Tally,
    b: Tally,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    *,
    same_models: bool = False,
) -> Effect:
    """Paired difference a - b on the same items: both get the same resampled items.

    Args:
        a, b: sums (S, N) of two conditions on the same N items; S may differ.
        level, resamples, seed: as `interval`.
        same_models: a and b are the same seeds under two test conditions, and so resampled alike.

    Returns:
        The difference; p is twice the smaller share of resamples beyond 0 and cannot be below 2 / (resamples + 1). NaN
        where a or b says nothing.

    Raises:
        InputError: other numbers of items, or of seeds with `same_models`.
    """
    sizes = [np.atleast_2d(tally.numerator).shape for tally in (a, b)]
    if sizes[0][1] != sizes[1][1] or (same_models and sizes[0] != sizes[1]):
        raise InputError(f"a/b: expected sums of the same items, found (seeds, items) {sizes[0]} and {sizes[1]}.")
    stream = SEEDS_A if same_models else SEEDS_B
    drawn = resample(a, resamples, seed) - resample(b, resamples, seed, stream)
    drawn = drawn[np.isfinite(drawn)]
    tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
    p = min(1.0, 2 * (1 + tail) / (drawn.size + 1)) if drawn.size else float("nan")
    return Effect(a.value - b.value, *_quantiles(drawn, level), float(p))


def crossing(
    levels: Sequence[float],
    tallies: Sequence[Tally],
    target: float,
    log: bool = False,
    *,
    of: Tally | None = None,
    decibel: bool = False,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Threshold:
    """The first level, from the first on, at which a curve crosses a target; straight between neighbouring levels.

    Args:
        levels: (L,) where the curve was measured, ascending or descending.
        tallies: (L,) sums on the same items at each.
        target: value of the metric, or with `of` a share of its value.
        log: straight in the logarithm of the level.
        of: the condition of which the target is a share; it is resampled with the curve.
        decibel: the metric is in dB, where a share is 20 log10(share) more.
        level, resamples, seed: as `interval`.

    Returns:
        The crossing. Resampled curves that do not cross count as crossings beyond the levels, on the side where their
        values say.

    Raises:
        InputError: other numbers of levels and tallies, or a level of 0 or below with `log`.
    """
    levels = np.asarray(levels, np.float64)
    if levels.size != len(tallies) or not levels.size or (log and (levels <= 0).any()):
        raise InputError(
            f"levels: expected one a tally, above 0 with log, found {levels.tolist()} for {len(tallies)} tallies."
        )
    scale = np.log(levels) if log else levels
    value = np.asarray([[tally.value for tally in tallies]])
    goal = np.asarray(target if of is None else aim(of.value, target, decibel))
    (found,), (side,) = _first_crossings(scale, value - goal)
    drawn = np.stack([resample(tally, resamples, seed) for tally in tallies], -1)
    goals = goal if of is None else aim(resample(of, resamples, seed), target, decibel)[:, None]
    places, sides = _first_crossings(scale, drawn - goals)
    missing = np.isnan(places)
    # A curve that stays where the measured one begins crosses beyond the last level, any other before the first
    begin = next((sign for sign in np.sign(value - goal)[0] if sign in (-1, 1)), 0)
    beyond = np.where(sides == begin, np.inf, -np.inf) * (1 if scale[-1] >= scale[0] else -1)
    ends = _quantiles(np.where(missing, beyond, places)[sides != 0], level)
    back = np.exp if log else float
    return Threshold(
        None if np.isnan(found) else float(back(found)),
        *(float(back(end)) if np.isfinite(end) else None for end in ends),
        float(1 - missing.mean()),
        {2: "crossed", 1: "above", -1: "below", 0: "unknown"}[int(side)],
    )


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's step-down correction: with all p at most 0.05 taken as effects, one false among them in 20 studies.

    Args:
        p_values: raw p; NaN is no test and stays.

    Returns:
        Adjusted p, in the order given.

    Source:
        Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979).
    """
    raw = np.asarray(p_values, np.float64)
    adjusted = raw.copy()
    known = np.flatnonzero(~np.isnan(raw))
    order = known[np.argsort(raw[known], kind="stable")]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(raw[order] * np.arange(order.size, 0, -1)))
    return adjusted


def aim(value: Any, share: float, decibel: bool) -> Any:
    """A share of a value; in dB, where values are logarithms of amplitudes, 20 log10(share) more."""
    return value + 20 * np.log10(share) if decibel else share * value


def resample(tally: Tally, resamples: int = 2000, seed: int = 0, stream: int = SEEDS_A) -> np.ndarray:
    """The pooled score of resampled items and seeds, as `interval` says.

    Args:
        tally: sums (N,) or (S, N).
        resamples: B, bootstrap samples.
        seed: the same seed draws the same items for all tallies of N items.
        stream: generator of the seeds' draw.

    Returns:
        (B,) scores; NaN for fewer than two items and where no drawn item says anything.
    """
    above, below = np.atleast_2d(tally.numerator), np.atleast_2d(tally.denominator)
    seeds, items = above.shape
    if items < 2 or np.isnan(tally.value):
        return np.full(resamples, np.nan)
    sums = _draw(resamples, items, seed, ITEMS) @ np.concatenate([above, below]).T
    above, below = sums[:, :seeds], sums[:, seeds:]
    by_items = ratio(above.sum(1), below.sum(1), tally.form)
    drawn = tally.value + np.sqrt(items / (items - 1)) * (by_items - tally.value)
    if seeds > 1:
        weights = _draw(resamples, seeds, seed, stream)
        by_both = ratio((weights * above).sum(1), (weights * below).sum(1), tally.form)
        drawn += np.sqrt(seeds / (seeds - 1)) * (by_both - by_items)
    # A pooled score never leaves the range of its items: stretched deviations make no negative error
    return np.clip(drawn, np.nanmin(tally.by_item), np.nanmax(tally.by_item))


@lru_cache(maxsize=8)
def _draw(resamples: int, things: int, seed: int, stream: int) -> np.ndarray:
    """(B, K) how often each of K things was drawn."""
    drawn = np.random.default_rng([seed, stream]).multinomial(things, np.full(things, 1 / things), resamples)
    drawn = drawn.astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def _first_crossings(scale: np.ndarray, gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of curves less their target (B, L): where each first is 0 (NaN: nowhere), and its side, 2 where it crosses."""
    signs = np.sign(gaps)
    # The last level is a place too: a segment of its own that has no length
    ends, next_gaps = np.append(scale[1:], scale[-1]), np.append(gaps[:, 1:], gaps[:, -1:], 1)
    crosses = signs * np.sign(next_gaps) < 0
    crosses |= signs == 0
    first = crosses.argmax(1)
    rows = np.arange(len(gaps))
    start, step = gaps[rows, first], gaps[rows, first] - next_gaps[rows, first]
    part = np.where(start == 0, 0.0, start / np.where(step == 0, 1.0, step))
    places = np.where(crosses.any(1), scale[first] + part * (ends[first] - scale[first]), np.nan)
    known = np.nan_to_num(signs)
    side = known[rows, (known != 0).argmax(1)]
    return places, np.where(crosses.any(1), 2, side)


def _quantiles(drawn: np.ndarray, level: float) -> tuple[float, float]:
    """Both ends of the interval; NaN among the samples is left out, an infinite end stays."""
    if not 0 < level < 1:
        raise InputError(f"level: expected a probability in (0, 1), found {level}. Use 0.95 for 95 %.")
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(low), float(high)
