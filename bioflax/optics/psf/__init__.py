"""Point-spread functions: transfer functions for scenes, spots for emitters."""

from bioflax.optics.psf.beads import Bead as Bead
from bioflax.optics.psf.beads import BeadFit as BeadFit
from bioflax.optics.psf.beads import from_beads as from_beads
from bioflax.optics.psf.field import FieldPupil as FieldPupil
from bioflax.optics.psf.gaussian import Astigmatic as Astigmatic
from bioflax.optics.psf.gaussian import Gaussian as Gaussian
from bioflax.optics.psf.gaussian import gaussian_shares as gaussian_shares
from bioflax.optics.psf.gaussian import gaussian_sigma_nm as gaussian_sigma_nm
from bioflax.optics.psf.gaussian import gaussian_spot as gaussian_spot
from bioflax.optics.psf.interface import EmitterPSF as EmitterPSF
from bioflax.optics.psf.interface import seen_from as seen_from
from bioflax.optics.psf.pupil import Pupil as Pupil
from bioflax.optics.psf.spline import Measured as Measured
from bioflax.optics.psf.widefield import WidefieldOptics as WidefieldOptics
from bioflax.optics.psf.widefield import blur as blur
from bioflax.optics.psf.widefield import defocused_otf as defocused_otf
from bioflax.optics.psf.widefield import gaussian_otf as gaussian_otf
from bioflax.optics.psf.widefield import psf_from_otf as psf_from_otf
from bioflax.optics.psf.widefield import radial_frequency as radial_frequency
from bioflax.optics.psf.widefield import widefield_otf as widefield_otf
from bioflax.optics.psf.zernike import noll_order as noll_order
from bioflax.optics.psf.zernike import zernike as zernike
