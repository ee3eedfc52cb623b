"""Numbers that say what a loss does and how a search went; figures and pages are made of them."""

from evomal.analysis.audit import audit
from evomal.analysis.audit_words import Audit
from evomal.analysis.gradients import Curve, class_curve, residual_curve
from evomal.analysis.journal import (
    Ancestor,
    Point,
    best_so_far,
    lineage,
    operators_used,
    outcomes_by_generation,
    pareto_front,
    points,
)

__all__ = [
    "Ancestor",
    "Audit",
    "Curve",
    "Point",
    "audit",
    "best_so_far",
    "class_curve",
    "lineage",
    "operators_used",
    "outcomes_by_generation",
    "pareto_front",
    "points",
    "residual_curve",
]
