"""Files to arrays with axes and units, and back."""

from bioflax.io.axes import AXES as AXES
from bioflax.io.axes import check_axes as check_axes
from bioflax.io.axes import rearrange as rearrange
from bioflax.io.axes import suggest_axes as suggest_axes
from bioflax.io.dtypes import FILE_DTYPES as FILE_DTYPES
from bioflax.io.dtypes import to_dtype as to_dtype
from bioflax.io.image_file import ImageFile as ImageFile
from bioflax.io.image_file import check_finite as check_finite
from bioflax.io.image_file import image_from_array as image_from_array
from bioflax.io.images import SUFFIXES as SUFFIXES
from bioflax.io.images import image_stem as image_stem
from bioflax.io.images import list_images as list_images
from bioflax.io.images import natural_key as natural_key
from bioflax.io.images import open_image as open_image
from bioflax.io.localizations import LOCALIZATION_FORMATS as LOCALIZATION_FORMATS
from bioflax.io.localizations import Localizations as Localizations
from bioflax.io.localizations import read_localizations as read_localizations
from bioflax.io.localizations import write_localizations as write_localizations
from bioflax.io.sink import ImageSink as ImageSink
from bioflax.io.sink import save_image as save_image
