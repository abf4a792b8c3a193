"""Evaluation: one table of the input, the classical filters, the model and the bounds."""

from bioflax.evaluation.evaluate import evaluate
from bioflax.evaluation.files import evaluate_files
from bioflax.evaluation.methods import BOUNDS, EvaluationItem, Item
from bioflax.evaluation.scoring import Scoring
from bioflax.evaluation.summary import EvaluationResult

__all__ = ["BOUNDS", "EvaluationItem", "EvaluationResult", "Item", "Scoring", "evaluate", "evaluate_files"]
