"""Records of load tests to render."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pra.drill.record import Step
from pra.loadtest import judge
from pra.loadtest.diagnosis import Condition
from pra.loadtest.forecast import Forecast
from pra.loadtest.hardware import Hardware
from pra.loadtest.measures import ApiLoad, Load, Query, Round
from pra.loadtest.record import LoadTestRecord, Slow, Tested
from pra.model import CheckResult, Status, Verdict
from pra.procedures.preflight import SCHEDULE
from pra.timing import Objective

BEGAN = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)
ROUNDS = (
    *(Round("backup", s, 647_000_000, 2_400_000_000, (("take", s - 1),)) for s in (5.9, 6.2, 8.0)),
    *(Round("restore", s, 647_000_000, 2_400_000_000) for s in (24.7, 26.0, 31.5)),
    *(Round("restore-fast", s, 647_000_000, 2_400_000_000) for s in (18.0, 18.4, 20.1)),
)


def _load(factor: float, slow: float = 1.0) -> Load:
    names = {"contract-page": 0.4, "invoice-lines-of-contract": 0.6, "pay-invoice": 1.9}
    queries = tuple(
        Query(name, 1000, ms * f / 1000, ms * f / 400, ms * f / 200)
        for name, ms in names.items()
        for f in [factor * (slow if name.startswith("invoice") else 1)]
    )
    return Load(4, 15.0, 60_000, 0, queries)


API = ApiLoad(4, 10.0, 900, 0, 0.02, 0.09, (Query("/api/contracts", 900, 0.02, 0.09, 0.12),))


def passing() -> LoadTestRecord:
    restored = _load(1.05)
    objective = Objective("RTO", 1800, 31.5)
    checks = (
        judge.backup_interval(ROUNDS, SCHEDULE),
        judge.rto(objective),
        judge.load(restored),
        judge.slow_queries((), 3, "copy", asked=True),
        *judge.condition(Condition()),
        *judge.api(API),
        CheckResult(judge.INTEGRITY, Status.PASSED, "41 tables unchanged", "41 tables unchanged"),
    )
    return LoadTestRecord(
        target="akig",
        verdict=Verdict.PASS,
        started_at=BEGAN,
        ended_at=BEGAN + timedelta(seconds=214),
        engine="logical",
        hardware=Hardware("A processor", 2, 8),
        major=18,
        tested=Tested("20261101T010000Z-full-3f9c", "offsite", "c4" * 32, 647_000_000, 2_400_000_000, 3601.0),
        rounds=ROUNDS,
        rto=objective,
        interval_seconds=SCHEDULE.total_seconds(),
        restored=restored,
        original=_load(1.0),
        beside="copy",
        beside_note="a copy of the original, made for this load test",
        shipped=True,
        api=API,
        forecast=Forecast("until", 9, BEGAN + timedelta(days=41), "", 18_000_000, 26_000_000, 24.9),
        steps=(Step("prepare", BEGAN, 0.2), Step("restore", BEGAN + timedelta(seconds=20), 140.0)),
        checks=checks,
        facts={"id": "ab" * 16, "operator": "amadou", "versions": {"pra": "0.1.0", "postgres": "18.1"}},
    )


def failing() -> LoadTestRecord:
    """A lost index, no statistics, an application with errors, and a past that says nothing."""
    slow = (
        Slow("invoice-lines-of-contract", 0.0815, 0.0006, "index", ("public.invoice_lines_invoice_id_idx",)),
        Slow("contract-page", 0.012, 0.0004, "statistics", ("public.contracts", "public.tenants")),
        Slow("inbox", 0.02, 0.001, "scan", ("public.messages",)),
        Slow("pay-invoice", 0.02, 0.001, "unknown"),
    )
    api = replace(API, errors=45, p95=6.2)
    lacks = Condition({"public.invoice_lines_invoice_id_idx": "public.invoice_lines"}, ("public.contracts",))
    checks = (
        judge.no_backup(),
        judge.rto(Objective("RTO", 30, 31.5)),
        judge.load(_load(1.0, 100)),
        judge.slow_queries(slow, 3, "record", asked=False),
        *judge.condition(lacks),
        *judge.api(api),
        judge.unanswered(judge.INTEGRITY, "the same data", "the server was lost"),
    )
    return replace(
        passing(),
        verdict=Verdict.FAIL,
        rounds=ROUNDS[3:],
        rto=Objective("RTO", 1800, 31.5),
        restored=_load(1.0, 100),
        beside="record",
        beside_note="the source was not to be read; evidence 12 of 2026-10-01, on the same hardware",
        slow=slow,
        api=api,
        forecast=Forecast("unknown", 2, reason="fewer than 3 restores are on record"),
        checks=checks,
        deviations=("Left out, since a table or column is not there: inbox.",),
    )


def before(count: int = 4) -> tuple[LoadTestRecord, ...]:
    """Earlier load tests, the newest first, a month apart."""
    return tuple(replace(passing(), started_at=BEGAN - timedelta(days=30 * i)) for i in range(1, count + 1))
