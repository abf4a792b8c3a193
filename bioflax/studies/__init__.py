"""Limitation studies: where does a model stop working, and what helps?"""

from bioflax.studies.engine import Engine, chosen, is_done, read_plan, write_plan
from bioflax.studies.plan import Plan, make_plan
from bioflax.studies.study import Condition, Factor, Study
from bioflax.studies.tally import Tally

__all__ = [
    "Condition",
    "Engine",
    "Factor",
    "Plan",
    "Study",
    "Tally",
    "chosen",
    "is_done",
    "make_plan",
    "read_plan",
    "write_plan",
]
