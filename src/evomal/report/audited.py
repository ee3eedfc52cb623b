"""An audit as a table: what `show` tells of it beside its words."""

from rich.table import Table

from evomal.analysis import Audit
from evomal.foundation.serialization import cleaned
from evomal.report.tables import make_table

NEAREST, PARTS = 3, 12


def table_of_audit(audit: Audit) -> Table:
    """The numbers of an audit, one row each.

    Example:
        >>> from evomal.analysis import audit
        >>> from evomal.losses import HandcraftedLoss
        >>> table_of_audit(audit(HandcraftedLoss("mse"))).row_count
        9
    """
    table = make_table("measured", "value", left=("measured",))
    for name, weight in audit.weights.items():
        what = "weight on the margin" if audit.task_type != "regression" else "slope"
        table.add_row(f"{what}, {name} predictions" if audit.classes else f"{what}, {name} residuals", _shown(weight))
    table.add_row("asymmetry", _shown(audit.asymmetry))
    table.add_row("minimum at", f"{audit.minimum:g}")
    if audit.properness is not None:
        table.add_row("distance from proper", f"{audit.properness:g}")
    table.add_row("greatest value, far out", _shown(audit.greatest))
    table.add_row("Lipschitz constant on the grid", _shown(audit.lipschitz))
    for known in audit.nearest[:NEAREST]:
        table.add_row(f"distance from {cleaned(known.name)}", f"{known.distance:.3f}")
    for part in audit.ablation.parts[:PARTS] if audit.ablation else ():
        table.add_row(f"change without {cleaned(part.text)}", "needed" if part.change is None else f"{part.change:.3f}")
    return table


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
