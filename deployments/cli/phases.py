"""How long each step took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from deployments.cli.output import Output
from pra.timing import Phase, format_duration


def phases_json(phases: Sequence[Phase]) -> list[dict[str, Any]]:
    return [{"name": phase.name, "seconds": round(phase.seconds, 3)} for phase in phases]


def show_phases(out: Output, phases: Sequence[Phase], objective_seconds: float | None = None) -> None:
    """One line a phase; with an objective, the share of it that the phase used."""
    _ = out.translate
    columns = [_("Phase"), _("Time")]
    if objective_seconds:
        columns.append(_("Share of the objective"))
    rows = []
    for phase in phases:
        row = [escape(phase.name), format_duration(phase.seconds)]
        if objective_seconds:
            row.append(f"{phase.seconds / objective_seconds:.1%}")
        rows.append(row)
    out.table(columns, rows)
