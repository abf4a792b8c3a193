"""How a study speaks: names of metrics and levels, numbers with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

# metric: (words, unit, digits after the point)
METRICS = {
    "psnr_db": ("PSNR", "dB", 2),
    "si_psnr_db": ("scale-invariant PSNR", "dB", 2),
    "ssim": ("SSIM", "", 3),
    "jaccard": ("Jaccard index", "", 3),
    "recall": ("recall", "", 3),
    "precision": ("precision", "", 3),
    "f1": ("F1", "", 3),
    "iou": ("IoU", "", 3),
    "nrmse": ("NRMSE", "", 4),
    "false_positives_per_um2": ("false positives", "per µm²", 4),
    "false_structures_per_um2": ("false structures", "per µm²", 4),
    "false_per_mpx": ("false objects", "per megapixel", 1),
    "ap50": ("AP at IoU 0.5", "", 3),
    "ap75": ("AP at IoU 0.75", "", 3),
    "f1_3px": ("F1 at 3 px", "", 3),
    "coverage_68": ("coverage of 68 % intervals", "", 3),
    "gain_db": ("gain over the input", "dB", 2),
}
UNITS = {"db": "dB", "nm": "nm", "px": "px", "um": "µm", "um2": "µm²", "percent": "%", "photons": "photons", "deg": "°"}
NOTHING = "–"


def metric_words(metric: str) -> str:
    """The metric without its unit: `psnr_db` is PSNR."""
    if metric in METRICS:
        return METRICS[metric][0]
    stem, _, unit = metric.rpartition("_")
    words = stem if unit in UNITS and stem else metric
    return words.replace("_", " ").replace("rmse", "RMSE").replace("psnr", "PSNR").replace("crlb", "CRLB")


def metric_unit(metric: str) -> str:
    """The unit of a metric, "" for shares and ratios."""
    if metric in METRICS:
        return METRICS[metric][1]
    stem, _, unit = metric.rpartition("_")
    return UNITS.get(unit, "") if stem else ""


def metric_label(metric: str) -> str:
    """The metric for an axis: `PSNR (dB)`."""
    unit = metric_unit(metric)
    return f"{metric_words(metric)} ({unit})" if unit else metric_words(metric)


def digits_of(metric: str, values: Iterable[float] = ()) -> int:
    """Digits after the point that a metric deserves; by its size where the metric is not listed."""
    if metric in METRICS:
        return METRICS[metric][2]
    if metric_unit(metric) == "dB":
        return 2
    known = [abs(value) for value in values if value is not None and math.isfinite(value)]
    largest = max(known, default=0.0)
    return 3 if largest < 2 else 2 if largest < 20 else 1 if largest < 200 else 0


def signed(value: float | None, digits: int) -> str:
    """`+0.31`; `0.00` for what rounds to nothing."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def plain(value: float | None, digits: int) -> str:
    """A number with fixed digits, a dash for nothing."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def with_interval(value: Any, low: Any, high: Any, metric: str, *, sign: bool = False, unit: bool = True) -> str:
    """`2.31 dB [2.10, 2.52]`; without the brackets where there is no interval."""
    values = [number for number in (value, low, high) if number is not None and math.isfinite(number)]
    show, digits = (signed if sign else plain), digits_of(metric, values)
    text = show(value, digits)
    if text == NOTHING:
        return text
    if unit and metric_unit(metric):
        text += f" {metric_unit(metric)}"
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return text
    return f"{text} [{show(low, digits)}, {show(high, digits)}]"


def level_text(level: Any) -> str:
    """A level as text: numbers short, names as they are, nothing as `as set`."""
    if level is None:
        return "as set"
    if isinstance(level, bool) or not isinstance(level, (int, float)):
        return str(level)
    if level != 0 and (abs(level) >= 1e5 or abs(level) < 1e-3):
        return f"{level:.3g}"
    return f"{level:.4g}" if abs(level) < 1e4 else f"{level:.0f}"


def level_with_unit(level: Any, factor: Mapping[str, Any]) -> str:
    """`30 photons`; a category alone."""
    unit = factor.get("unit") or ""
    return f"{level_text(level)} {unit}".rstrip() if is_number(level) else level_text(level)


def factor_label(name: str, factor: Mapping[str, Any]) -> str:
    """The axis label of a factor; its unit where the label does not say it already."""
    label, unit = factor.get("label") or name.replace("_", " "), factor.get("unit") or ""
    return f"{label} ({unit})" if unit and unit.lower() not in label.lower() else label


def is_number(level: Any) -> bool:
    return isinstance(level, (int, float)) and not isinstance(level, bool)


def listed(words: Iterable[str], most: int = 6) -> str:
    """`a, b and c`; what is beyond `most` is counted."""
    words = list(words)
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def capital(text: str) -> str:
    """The first letter large, the others as they are."""
    return text[:1].upper() + text[1:]
