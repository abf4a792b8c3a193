"""How localization tables name their columns: the headers of other programs, and units in brackets or as suffix."""

from __future__ import annotations

import re
from pathlib import Path

from bioflax.errors import InputError

# Header of the file (lower case) to our name, in the order in which the columns are written.
THUNDERSTORM = {
    "frame": "frame",
    "x [nm]": "x_nm",
    "y [nm]": "y_nm",
    "z [nm]": "z_nm",
    "sigma [nm]": "psf_sigma_nm",
    "sigma1 [nm]": "psf_sigma_1_nm",
    "sigma2 [nm]": "psf_sigma_2_nm",
    "intensity [photon]": "photons",
    "offset [photon]": "background_photons",
    "bkgstd [photon]": "background_std_photons",
    "uncertainty [nm]": "uncertainty_nm",
    "uncertainty_x [nm]": "sigma_x_nm",
    "uncertainty_y [nm]": "sigma_y_nm",
    "uncertainty_z [nm]": "sigma_z_nm",
}
CHALLENGE = {"frame": "frame", "xnano": "x_nm", "ynano": "y_nm", "znano": "z_nm", "intensity": "photons"}
SMAP = {
    "frame": "frame",
    "xnm": "x_nm",
    "ynm": "y_nm",
    "znm": "z_nm",
    "phot": "photons",
    "bg": "background_photons",
    "xnmerr": "sigma_x_nm",
    "ynmerr": "sigma_y_nm",
    "znmerr": "sigma_z_nm",
    "photerr": "sigma_photons",
    "bgerr": "sigma_background_photons",
    "PSFxnm": "psf_sigma_x_nm",
    "PSFynm": "psf_sigma_y_nm",
    "locprecnm": "locprec_nm",
}
# LiteLoc writes SMAP's coordinates with these beside them.
LITELOC = {
    "photon": "photons",
    "prob": "probability",
    "x_sig": "sigma_x_nm",
    "y_sig": "sigma_y_nm",
    "z_sig": "sigma_z_nm",
    "photon_sig": "sigma_photons",
}
_LENGTHS_NM = {"nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3}  # two Unicode signs look like micro
_NEEDS_UNIT = ("x", "y", "z", "sigma", "sigma1", "sigma2", "intensity", "offset", "bkgstd", "uncertainty")
_LABEL = re.compile(r"(.*?)\s*[\[(]\s*(.*?)\s*[\])]$")


def unit_of(path: Path, label: str, pixel_nm: float | None) -> tuple[str, float]:
    """A label with lengths in nm, and the factor that makes them so.

    Args:
        path: the file, for messages.
        label: such as `x [px]`, or `X (nm)`.
        pixel_nm: camera pixel, nm, if known.

    Returns:
        Such as `x [nm]` and `pixel_nm`.

    Raises:
        InputError: a column that needs a unit has none, or one that cannot be converted.
    """
    match = _LABEL.match(label)
    if match is None:
        if label.lower() in _NEEDS_UNIT:
            raise InputError(f"{path}: expected a unit, found the column {label!r}. Name it {label} [nm] or [photon].")
        return label, 1.0
    name, unit = match.groups()
    if unit.lower() in _LENGTHS_NM:
        return f"{name} [nm]", _LENGTHS_NM[unit.lower()]
    if unit.lower() in ("photon", "photons"):
        return f"{name} [photon]", 1.0
    if unit.lower() in ("px", "pixel", "pixels"):
        if pixel_nm is None:
            raise InputError(f"{path}: expected nm, found {label!r}. Export in nm, or give pixel_nm=.")
        return f"{name} [nm]", float(pixel_nm)
    if name.lower() in ("x", "y", "z"):
        raise InputError(f"{path}: expected nm, found {label!r}. Export the coordinates in nm.")
    return f"{name} [{unit}]", 1.0


def from_label(label: str) -> str:
    """`crlb_x [nm]` to `crlb_x_nm`; a unit that is no word loses its signs."""
    match = _LABEL.match(label)
    if match is None:
        return label
    name, unit = match.groups()
    unit = "photons" if unit == "photon" else re.sub(r"\W+", "", unit).lower()
    return f"{name}_{unit}" if unit else name


def to_label(name: str) -> str:
    """`crlb_x_nm` to `crlb_x [nm]`."""
    for suffix, unit in (("_nm", "nm"), ("_photons", "photon")):
        if name.endswith(suffix):
            return f"{name.removesuffix(suffix)} [{unit}]"
    return name
