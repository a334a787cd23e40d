"""Metrics as JSON: durations in seconds, shares from 0 to 1, what is unknown is null."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from pra.timing import to_iso
from pra.watch.metrics.facts import Fact, Incident
from pra.watch.metrics.figures import Durations, Figures, Measured, RepositoryFigures
from pra.watch.metrics.judge import judged, overall
from pra.watch.metrics.whole import TargetMetrics

SCHEMA = "pra/metrics/1"


def document(metrics: Sequence[TargetMetrics]) -> dict[str, Any]:
    """The object, but for its schema."""
    return {"items": [_target(each) for each in metrics]}


def _target(metrics: TargetMetrics) -> dict[str, Any]:
    periods = {"week": metrics.week, "month": metrics.month, "chosen": metrics.chosen}
    return {
        "target": metrics.target,
        "at": to_iso(metrics.at),
        "inside": metrics.inside,
        "empty": metrics.empty,
        "objectives": {
            "rpo_seconds": metrics.goals.rpo.total_seconds(),
            "rto_seconds": metrics.goals.rto.total_seconds(),
            "uptime": metrics.goals.uptime,
            "backups": metrics.goals.backups,
            "tests": metrics.goals.tests,
        },
        **{name: _figures(figures, metrics) for name, figures in periods.items()},
        "days": [day.as_json() for day in metrics.days],
        "proofs": [_fact(fact) for fact in metrics.proofs],
        "incidents": [_incident(each) for each in metrics.incidents],
        "last_drill": _fact(metrics.last_drill) if metrics.last_drill else None,
        "forecast": metrics.forecast.as_json(),
        "problems": list(metrics.problems),
    }


def _figures(figures: Figures, metrics: TargetMetrics) -> dict[str, Any]:
    judgements = judged(figures, metrics.goals)
    tests, size = figures.tests, figures.size
    return {
        "period": {"since": to_iso(figures.period.since), "until": to_iso(figures.period.until)},
        "inside": overall(judgements, problems=bool(metrics.problems)),
        "judgements": [each.as_json() for each in judgements],
        "exposure": _measured(figures.exposure),
        "rpo": _measured(figures.proven_rpo),
        "rto": _measured(figures.rto),
        "uptime": figures.uptime.as_json(),
        "watched_hours": figures.unwatched.as_json(),
        "repositories": [_repository(each) for each in figures.repositories],
        "tests": {
            **tests.results.as_json(),
            "partial": tests.partial,
            "durations": _durations(tests.durations),
            "latest": _fact(tests.latest) if tests.latest else None,
        },
        "incidents": [
            {
                "severity": each.severity,
                "count": each.count,
                "open": each.open,
                "in_time": each.in_time,
                "mttr_seconds": each.mttr,
                "longest_seconds": each.longest,
                "limit_seconds": each.limit,
            }
            for each in figures.incidents
        ],
        "size": {"first": size.first, "last": size.last, "bytes_a_day": size.per_day},
    }


def _measured(one: Measured) -> dict[str, Any]:
    return {
        "latest_seconds": finite(one.latest),
        "worst_seconds": finite(one.worst),
        "unlimited": one.worst is not None and not isfinite(one.worst),
        "inside": one.inside.as_json(),
    }


def finite(seconds: float | None) -> float | None:
    """JSON has no infinity; that everything would have been lost is said apart."""
    return seconds if seconds is not None and isfinite(seconds) else None


def _durations(one: Durations) -> dict[str, Any]:
    return {"count": one.count, "median_seconds": one.median, "longest_seconds": one.longest}


def _repository(one: RepositoryFigures) -> dict[str, Any]:
    return {
        "repository": one.name,
        "slots": one.slots.share.as_json(),
        "missed": [to_iso(moment) for moment in one.slots.missed],
        "longest_gap_seconds": one.slots.gap,
        "durations": _durations(one.durations),
        "newest_at": to_iso(one.newest_at) if one.newest_at else None,
        "proven_at": to_iso(one.proven_at) if one.proven_at else None,
        "proof_lag_seconds": one.lag,
        "passed_at": to_iso(one.passed_at) if one.passed_at else None,
    }


def _fact(fact: Fact) -> dict[str, Any]:
    return {
        "sequence": fact.sequence,
        "kind": fact.kind,
        "at": to_iso(fact.at),
        "verdict": fact.verdict,
        "backup_id": fact.backup_id or None,
        "repository": fact.repository or None,
        "scenario": fact.scenario or None,
        "rto_seconds": fact.rto,
        "rpo_seconds": fact.rpo,
        "proven_seconds": fact.proven,
    }


def _incident(one: Incident) -> dict[str, Any]:
    return {
        "severity": one.severity,
        "name": one.name,
        "target": one.target or None,
        "opened_at": to_iso(one.opened_at),
        "closed_at": to_iso(one.closed_at) if one.closed_at else None,
    }
