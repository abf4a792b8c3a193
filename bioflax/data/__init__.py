"""Files to batches: fields of view, normalisation, patches, held-out data, fetching ahead."""

from bioflax.data.assemble import FolderData as FolderData
from bioflax.data.assemble import Prepared as Prepared
from bioflax.data.assemble import SimulatedData as SimulatedData
from bioflax.data.augment import AUGMENTATIONS as AUGMENTATIONS
from bioflax.data.folders import from_arrays as from_arrays
from bioflax.data.folders import open_folder as open_folder
from bioflax.data.holdout import Split as Split
from bioflax.data.holdout import split as split
from bioflax.data.image_set import Capture as Capture
from bioflax.data.image_set import Field as Field
from bioflax.data.image_set import ImageSet as ImageSet
from bioflax.data.matching import pair_files as pair_files
from bioflax.data.normalize import KINDS as KINDS
from bioflax.data.normalize import Normalization as Normalization
from bioflax.data.normalize import fit as fit
from bioflax.data.patches import StackSource as StackSource
from bioflax.data.patches import load_stack as load_stack
from bioflax.data.patches import make_source as make_source
from bioflax.data.patches import stack_megabytes as stack_megabytes
from bioflax.data.photons import photon_split as photon_split
from bioflax.data.prefetch import Prefetch as Prefetch
from bioflax.data.stream import FolderSource as FolderSource
from bioflax.data.table import MODES as MODES
from bioflax.data.table import PatchTable as PatchTable
from bioflax.data.validation import REFERENCES as REFERENCES
from bioflax.data.validation import validation_batches as validation_batches
