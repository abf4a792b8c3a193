"""What the page of an evaluation of localizations shows beside its numbers: renderings, and frames with marks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bioflax.evaluation.localization_scores import Columns, Protocol
from bioflax.io import ImageFile, Localizations
from bioflax.metrics import Comparison
from bioflax.predict.inspection import (
    FALSE,
    FOUND,
    MISSED,
    TRUE,
    cells_for,
    choose_frames,
    cut_frames,
    inspect_table,
    points_in,
)


def picture_arrays(
    localizers: Mapping[str, Localizations],
    truth: Localizations,
    compared: Mapping[str, Comparison],
    protocol: Protocol,
    movie: ImageFile | None,
) -> dict[str, np.ndarray]:
    """Renderings of all tables, and frames of the movie with what was found, missed and false."""
    z_range = tuple(np.quantile(truth["z_nm"], [0.01, 0.99])) if "z_nm" in truth.columns else None
    z_range = z_range if z_range is not None and z_range[1] > z_range[0] else None
    shared = {"size_nm": protocol.size_nm, "frames": protocol.frames, "pixel_nm": protocol.pixel_nm}
    shared["cells"] = cells_for(len(truth))
    arrays: dict[str, np.ndarray] = {}
    for name, table in {**localizers, "truth": truth}.items():
        arrays |= prefixed(name, inspect_table(table, **shared, z_range_nm=z_range))
    if movie is None or protocol.pixel_nm is None:
        return arrays
    main = next(iter(compared.values()))
    wrong = np.concatenate([main.predicted["frame"][~main.hits], main.truth["frame"][~main.found]])
    errors = np.bincount(wrong - 1, minlength=protocol.frames).astype(float)
    errors[np.setdiff1d(np.arange(protocol.frames), np.unique(truth["frame"] - 1))] = np.nan
    cut = cut_frames(movie, choose_frames(errors), main.truth, protocol.pixel_nm)
    for name, one in compared.items():
        groups = {
            FOUND: _rows(one.predicted, one.hits),
            FALSE: _rows(one.predicted, ~one.hits),
            MISSED: _rows(one.truth, ~one.found),
            TRUE: _rows(one.truth, one.found),
        }
        shown = points_in(cut, groups, protocol.pixel_nm)
        arrays |= {f"{name}.points_{k}": points for k, points in enumerate(shown)}
    return arrays | cut


def _rows(columns: Columns, mask: np.ndarray) -> dict[str, np.ndarray]:
    return {name: columns[name][mask] for name in ("frame", "x_nm", "y_nm")}


def prefixed(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}.{key}": values for key, values in arrays.items()}
