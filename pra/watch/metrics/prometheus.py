"""Metrics in Prometheus' text exposition format, version 0.0.4.

Gauges all: everything is read from the records anew, and nothing counts up in this process. Durations are in
seconds, shares from 0 to 1, moments in seconds since 1970. What is unknown has no sample: alert rules ask for
it with ``absent``. Names and labels are stable: ``docs/prometheus/alerts.yaml`` is written against them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pra.watch.metrics.figures import Figures
from pra.watch.metrics.share import Share
from pra.watch.metrics.whole import TargetMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

FAMILIES = {
    "pra_build_time_seconds": "When these metrics were put together.",
    "pra_target_inside": "1: every objective was met over the window; 0: one was missed; absent: unknown.",
    "pra_objective_rpo_seconds": "Recovery point objective.",
    "pra_objective_rto_seconds": "Recovery time objective.",
    "pra_objective_uptime_ratio": "Uptime objective.",
    "pra_objective_proof_age_seconds": "How old the last proof may be.",
    "pra_objective_drill_age_seconds": "How old the last drill may be.",
    "pra_objective_backup_interval_seconds": "Interval of the backup schedule.",
    "pra_exposure_seconds": "What a disaster would have cost at the newest status sample; +Inf: everything.",
    "pra_exposure_worst_seconds": "The most that a disaster would have cost at a sample of the window.",
    "pra_exposure_inside_ratio": "Share of status samples in which that was inside the RPO.",
    "pra_rpo_latest_seconds": "RPO that the newest proof or drill of the window measured.",
    "pra_rpo_worst_seconds": "Worst RPO that a proof or drill of the window measured.",
    "pra_rto_latest_seconds": "RTO that the newest proof or drill of the window measured.",
    "pra_rto_worst_seconds": "Worst RTO that a proof or drill of the window measured.",
    "pra_rto_inside_ratio": "Share of the window, where known, in which the last proof was inside the RTO.",
    "pra_uptime_ratio": "Share of status samples, where known, in which database and API answered.",
    "pra_uptime_unknown_ratio": "Share of status samples that do not know whether they answered.",
    "pra_watched_ratio": "Share of the window's hours that have a status sample.",
    "pra_last_sample_timestamp_seconds": "When the newest status sample was taken.",
    "pra_backup_success_ratio": "Share of the schedule's slots, where known, that have a backup.",
    "pra_backup_missed": "Slots of the schedule without a backup.",
    "pra_backup_duration_median_seconds": "From the beginning of a backup to its publication, median.",
    "pra_backup_duration_longest_seconds": "From the beginning of a backup to its publication, longest.",
    "pra_backup_newest_timestamp_seconds": "When the newest backup was begun.",
    "pra_backup_proven_timestamp_seconds": "When the newest backup that ever passed was begun.",
    "pra_proof_lag_seconds": "From the newest proven backup to the newest backup.",
    "pra_proof_passed_timestamp_seconds": "When a verification last passed.",
    "pra_restore_test_pass_ratio": "Share of verifications that passed.",
    "pra_restore_tests": "Verifications by verdict.",
    "pra_restore_test_duration_median_seconds": "From the start until every check had passed, median.",
    "pra_incidents": "Incidents that began in the window.",
    "pra_incidents_open": "Of those, how many are not over.",
    "pra_incident_mttr_seconds": "Mean time to resolve those that are over.",
    "pra_incident_limit_seconds": "Until when an incident is to be resolved.",
    "pra_database_bytes": "Size of the database.",
    "pra_database_growth_bytes_per_day": "Growth of the database a day.",
    "pra_drill_timestamp_seconds": "When the last drill took place.",
    "pra_drill_passed": "1 when the last drill passed, else 0.",
    "pra_rto_forecast_timestamp_seconds": "When the RTO will no longer hold, as size and speed go on.",
    "pra_problems": "Records and repositories that could not be read or believed.",
}  # fmt: skip
"""Every name that is ever exposed, with its help."""


@dataclass(frozen=True)
class _Line:
    name: str
    labels: tuple[tuple[str, str], ...]
    value: float | None


def exposition(metrics: Sequence[TargetMetrics]) -> str:
    """The whole text: each family once, with the samples of all targets below it."""
    lines: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for each in metrics:
        for line in _of_target(each):
            if line.value is not None:
                lines[line.name].append(f"{line.name}{_labels(line.labels)} {number(line.value)}\n")
    parts = []
    for name, samples in lines.items():
        if samples:
            parts += [f"# HELP {name} {_help(FAMILIES[name])}\n", f"# TYPE {name} gauge\n", *samples]
    return "".join(parts)


def _of_target(metrics: TargetMetrics) -> Iterator[_Line]:
    label = (("target", metrics.target),)
    goals = metrics.goals
    drill = metrics.last_drill
    yield _Line("pra_build_time_seconds", label, metrics.at.timestamp())
    yield _Line("pra_objective_rpo_seconds", label, goals.rpo.total_seconds())
    yield _Line("pra_objective_rto_seconds", label, goals.rto.total_seconds())
    yield _Line("pra_objective_uptime_ratio", label, goals.uptime)
    yield _Line("pra_objective_proof_age_seconds", label, goals.proof_every.total_seconds())
    yield _Line("pra_objective_drill_age_seconds", label, goals.drill_every.total_seconds())
    yield _Line("pra_objective_backup_interval_seconds", label, goals.every.total_seconds())
    yield _Line("pra_last_sample_timestamp_seconds", label, _moment(metrics.sampled_at))
    yield _Line("pra_exposure_seconds", label, metrics.month.exposure.latest)
    yield _Line("pra_database_bytes", label, metrics.month.size.last)
    yield _Line("pra_database_growth_bytes_per_day", label, metrics.month.size.per_day)
    yield _Line("pra_drill_timestamp_seconds", label, _moment(drill.at if drill else None))
    yield _Line("pra_drill_passed", label, None if drill is None else float(drill.verdict == "PASS"))
    yield _Line("pra_rto_forecast_timestamp_seconds", label, _moment(metrics.forecast.at))
    yield _Line("pra_problems", label, len(metrics.problems))
    for each in metrics.month.repositories:
        place = (*label, ("repository", each.name))
        yield _Line("pra_backup_newest_timestamp_seconds", place, _moment(each.newest_at))
        yield _Line("pra_backup_proven_timestamp_seconds", place, _moment(each.proven_at))
        yield _Line("pra_proof_lag_seconds", place, each.lag)
        yield _Line("pra_proof_passed_timestamp_seconds", place, _moment(each.passed_at))
    for window, figures, inside in (
        ("week", metrics.week, metrics.inside_of(metrics.week)),
        ("month", metrics.month, metrics.inside_of(metrics.month)),
    ):
        yield from _of_window(figures, inside, (*label, ("window", window)))


def _of_window(figures: Figures, inside: bool | None, label: tuple[tuple[str, str], ...]) -> Iterator[_Line]:
    tests = figures.tests
    yield _Line("pra_target_inside", label, None if inside is None else float(inside))
    yield _Line("pra_exposure_worst_seconds", label, figures.exposure.worst)
    yield _Line("pra_exposure_inside_ratio", label, figures.exposure.inside.value)
    yield _Line("pra_rpo_latest_seconds", label, figures.proven_rpo.latest)
    yield _Line("pra_rpo_worst_seconds", label, figures.proven_rpo.worst)
    yield _Line("pra_rto_latest_seconds", label, figures.rto.latest)
    yield _Line("pra_rto_worst_seconds", label, figures.rto.worst)
    yield _Line("pra_rto_inside_ratio", label, figures.rto.inside.value)
    yield _Line("pra_uptime_ratio", label, figures.uptime.value)
    yield _Line("pra_uptime_unknown_ratio", label, figures.uptime.unknown_part)
    yield _Line("pra_watched_ratio", label, _watched(figures.unwatched))
    yield _Line("pra_restore_test_pass_ratio", label, tests.results.value)
    passed, partial = tests.results.good, tests.partial
    counts = {"PASS": passed, "PARTIAL": partial, "FAIL": tests.results.bad - partial}
    for verdict, count in counts.items():
        yield _Line("pra_restore_tests", (*label, ("verdict", verdict)), count)
    yield _Line("pra_restore_test_duration_median_seconds", label, tests.durations.median)
    for each in figures.repositories:
        place = (*label, ("repository", each.name))
        known = each.slots.share.value is not None
        yield _Line("pra_backup_success_ratio", place, each.slots.share.value)
        yield _Line("pra_backup_missed", place, each.slots.share.bad if known else None)
        yield _Line("pra_backup_duration_median_seconds", place, each.durations.median)
        yield _Line("pra_backup_duration_longest_seconds", place, each.durations.longest)
    for one in figures.incidents:
        severe = (*label, ("severity", one.severity))
        yield _Line("pra_incidents", severe, one.count)
        yield _Line("pra_incidents_open", severe, one.open)
        yield _Line("pra_incident_mttr_seconds", severe, one.mttr)
        yield _Line("pra_incident_limit_seconds", severe, one.limit)


def _watched(hours: Share) -> float | None:
    """Unknown hours were not watched."""
    return None if hours.unknown_part is None else 1 - hours.unknown_part


def _moment(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def number(value: float) -> str:
    """As the format wants a float."""
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(float(value))


def _labels(labels: Sequence[tuple[str, str]]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
