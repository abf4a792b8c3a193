"""What a user would pick instead of a detector, on many images at once: by Otsu for objects, by LoG and DoG for spots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bioflax.baselines.blobs import best_threshold, find_blobs
from bioflax.baselines.nuclei import segment_nuclei
from bioflax.errors import InputError

CHOSEN_AT_PX = 2.0  # the oracle's threshold is the best for F1 within this distance

Found = dict[str, list[np.ndarray]]


def find_objects(images: Sequence[np.ndarray]) -> tuple[Found, list[str]]:
    """Gaussian and Otsu, with watershed (`otsu_watershed`) and without (`otsu`).

    Args:
        images: (Y, X) each.

    Returns:
        Label images by method, none of volumes or in an install without scikit-image; and notes for the reader.
    """
    if any(image.ndim != 2 for image in images):
        return {}, ["there is no classical segmentation of volumes"]
    try:
        return {
            "otsu_watershed": [segment_nuclei(image) for image in images],
            "otsu": [segment_nuclei(image, split=False) for image in images],
        }, []
    except InputError as missing:
        return {}, [str(missing)]


def find_points(images: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> tuple[Found, list[str]]:
    """LoG and DoG with the width and threshold that are best on these very images (`log_oracle`, `dog_oracle`), and LoG with that
    width and an automatic threshold (`log_auto`).

    Args:
        images: (Y, X) or (Z, Y, X) each.
        truth: (P, d) px each.

    Returns:
        Positions (N, d) px by method, none where there is no true point; and notes for the reader.
    """
    if not sum(map(len, truth)):
        return {}, ["there are no points to choose the threshold of a filter by"]
    made: Found = {}
    notes = []
    for kind in ("log", "dog"):
        sigma_px, threshold, _ = best_threshold(list(images), list(truth), distance_px=CHOSEN_AT_PX, filter=kind)
        made[f"{kind}_oracle"] = [find_blobs(image, sigma_px, threshold, kind)[0] for image in images]
        if kind == "log":
            made["log_auto"] = [find_blobs(image, sigma_px, "auto")[0] for image in images]
            notes.append(
                f"The oracle LoG (sigma {sigma_px:.3g} px) and DoG saw the truth of these very images to choose sigma and "
                f"threshold for F1 within {CHOSEN_AT_PX:g} px; log_auto has that sigma and an automatic threshold."
            )
    return made, notes
