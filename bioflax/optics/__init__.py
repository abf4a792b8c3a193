"""Physics of light and cameras: pure functions, units in their names."""

from bioflax.optics import bounds as bounds
from bioflax.optics import camera as camera
from bioflax.optics import fisher as fisher
from bioflax.optics import imaging as imaging
from bioflax.optics import likelihood as likelihood
from bioflax.optics import noise as noise
from bioflax.optics import passband as passband
from bioflax.optics import psf as psf
from bioflax.optics import resolution_bounds as resolution_bounds
from bioflax.optics.camera import EMCCD as EMCCD
from bioflax.optics.camera import SCMOS as SCMOS
from bioflax.optics.illumination import Illumination as Illumination
from bioflax.optics.imaging import Imaging as Imaging
from bioflax.optics.psf import WidefieldOptics as WidefieldOptics
