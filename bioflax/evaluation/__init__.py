"""Evaluation: one table of a model, what it is compared with, and the bounds; for images, localizations and objects."""

from bioflax.evaluation.detection_files import evaluate_detection_files
from bioflax.evaluation.detection_summary import DetectionResult
from bioflax.evaluation.detections import evaluate_objects, evaluate_points
from bioflax.evaluation.evaluate import evaluate
from bioflax.evaluation.files import evaluate_files
from bioflax.evaluation.localization_files import evaluate_localization_files
from bioflax.evaluation.localization_summary import LocalizationResult
from bioflax.evaluation.localizations import evaluate_localizations
from bioflax.evaluation.methods import BOUNDS, EvaluationItem, Item
from bioflax.evaluation.scoring import Scoring
from bioflax.evaluation.summary import EvaluationResult

__all__ = [
    "BOUNDS",
    "DetectionResult",
    "EvaluationItem",
    "EvaluationResult",
    "Item",
    "LocalizationResult",
    "Scoring",
    "evaluate",
    "evaluate_detection_files",
    "evaluate_files",
    "evaluate_localization_files",
    "evaluate_localizations",
    "evaluate_objects",
    "evaluate_points",
]
