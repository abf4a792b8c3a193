"""Files of detection results: label images, outlines, points, and what QuPath, napari and ImageJ open.

Inside bioflax pixel centres are at integers and axes run (y, x) or (z, y, x); each writer says its own convention.
"""

from bioflax.io.geojson import GeoObjects as GeoObjects
from bioflax.io.geojson import read_geojson as read_geojson
from bioflax.io.geojson import write_objects_geojson as write_objects_geojson
from bioflax.io.geojson import write_points_geojson as write_points_geojson
from bioflax.io.label_defects import fill_label_holes as fill_label_holes
from bioflax.io.label_defects import label_defects as label_defects
from bioflax.io.label_image import check_labels as check_labels
from bioflax.io.label_image import read_labels as read_labels
from bioflax.io.label_image import write_labels as write_labels
from bioflax.io.napari_csv import write_napari_points as write_napari_points
from bioflax.io.napari_csv import write_napari_shapes as write_napari_shapes
from bioflax.io.outlines import group_rings as group_rings
from bioflax.io.outlines import label_outlines as label_outlines
from bioflax.io.outlines import nest_rings as nest_rings
from bioflax.io.points_csv import read_points as read_points
from bioflax.io.points_csv import write_points_csv as write_points_csv
from bioflax.io.rois import write_imagej_points as write_imagej_points
from bioflax.io.rois import write_imagej_rois as write_imagej_rois
