"""Which questions are asked of a restored database, which are ruled out beforehand, and how one is run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from checks import content, continuity, expectations, integrity, recovered, service, structure
from checks.database import Check, connect
from pra.errors import PraError
from pra.model import CheckResult, Status
from pra.postgres.connect import first_line
from pra.restored import RestoredDatabase
from pra.settings import Freshness

__all__ = ["Check", "Checks", "Plan", "RestoredDatabase", "plan", "required", "run", "run_all"]


@dataclass(frozen=True)
class Plan:
    """``checks`` in the order in which to start them, the longest first; ``ruled_out`` and why."""

    checks: tuple[Check, ...]
    ruled_out: tuple[CheckResult, ...]


def plan(db: RestoredDatabase) -> Plan:
    """Decide before anything is run: what a plan rules out has its reason, what it keeps must be answered.

    Raises:
        UsageError: A suite cannot be read.
    """
    checks = [
        *(_of_dump(db) if db.recovered is None else recovered.checks_of(db)),
        Check("foreign-keys", "structure", integrity.foreign_keys),
        Check("gaps", "continuity", continuity.gaps),
        Check("warnings", "continuity", continuity.warnings),
    ]
    out = [*continuity.accepted_gaps(db), *_left_out(db)]
    critical = content.critical_tables
    if db.recovered is not None:
        out += recovered.ruled_out(db)
        critical = recovered.critical_tables
    for check, reason in (
        (Check("amcheck", "structure", integrity.amcheck), _no_amcheck(db)),
        (Check("critical-tables", "content", critical), _no_critical_tables(db)),
        (Check("continuity", "continuity", continuity.continuity), _no_continuity(db)),
        (Check("service", "service", service.service), _no_service(db)),
        (_rules(db), "" if db.target.suites else "no suites are configured"),
        *((_freshness(rule), "") for rule in db.target.freshness),
    ):
        if reason:
            out.append(CheckResult(check.name, Status.NOT_APPLICABLE, reason=reason))
        else:
            checks.append(check)
    if not db.target.freshness:
        out.append(
            CheckResult("freshness", Status.NOT_APPLICABLE, reason="no freshness rules are configured")
        )
    if reason := content.only_counts(db):
        out.append(CheckResult("digests", Status.NOT_APPLICABLE, reason=f"counts compared instead: {reason}"))
    return Plan(tuple(sorted(checks, key=lambda check: _ORDER.get(check.name, len(_ORDER)))), tuple(out))


# What takes longest starts first, so that it never runs alone at the end.
_ORDER = {name: i for i, name in enumerate(("fingerprint", "rules", "amcheck", "service", "foreign-keys"))}


def _of_dump(db: RestoredDatabase) -> tuple[Check, ...]:
    """What is asked of a logical restore, which built everything anew."""
    return (
        _content(db),
        Check("definitions", "structure", structure.definitions, structure.RESULTS),
        Check("sequences", "content", content.sequences),
        Check("indexes-valid", "structure", structure.indexes_valid),
        Check("constraints-validated", "structure", structure.constraints_validated),
        Check("statistics", "structure", integrity.statistics),
    )


def _content(db: RestoredDatabase) -> Check:
    views = ("materialized-views",) if content.expected_matviews(db) else ()
    return Check("fingerprint", "content", content.content, ("fingerprint", "large-objects", *views))


def _rules(db: RestoredDatabase) -> Check:
    suites = expectations.load_suites(db.target)
    names = tuple(
        expectations.result_name(suite.name, table.table) for suite in suites for table in suite.tables
    )
    return Check("rules", "business", lambda db: expectations.run_suites(suites, db.server, db.scope), names)


def _freshness(rule: Freshness) -> Check:
    return Check(content.freshness_name(rule), "content", partial(content.freshness, rule=rule))


def _left_out(db: RestoredDatabase) -> list[CheckResult]:
    """What the restore left out so as not to dial out, and views that could not be refreshed without it."""
    reason = "left out of this restore: it could reach other servers"
    results = [CheckResult(name, Status.NOT_APPLICABLE, reason=reason) for name in db.left_out]
    views = [f"{content.VIEW_DATA}{name}" for name in db.unrefreshed]
    return results + [
        CheckResult(name, Status.NOT_APPLICABLE, reason=why)
        for name, why in zip(views, db.unrefreshed.values(), strict=True)
    ]


def _no_amcheck(db: RestoredDatabase) -> str:
    if db.sandboxed:
        return ""
    with connect(db) as connection:
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'), "
            "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), "
            "EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtenabled IN ('A', 'R')) "
            "AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'amcheck')"
        ).fetchone()
    available, superuser, triggers = row or (False, False, False)
    if not available:
        return "the destination server does not offer the extension amcheck"
    if triggers:
        return "installing amcheck would run the database's own event triggers (ENABLE ALWAYS)"
    return "" if superuser else "only a superuser may run amcheck, and the destination's role is none"


def _no_critical_tables(db: RestoredDatabase) -> str:
    return "" if db.target.critical_tables else "no critical tables are configured"


def _no_continuity(db: RestoredDatabase) -> str:
    return "" if db.earlier else "there is no earlier backup to compare with"


def _no_service(db: RestoredDatabase) -> str:
    api = db.target.api
    if api is None or not api.start:
        return "no command that starts the application (api.start) is configured"
    return "" if api.restore_url else "no address of the restored application (api.restore_url) is configured"


def required(planned: Plan) -> tuple[str, ...]:
    """Results without which no verdict can be PASS."""
    return tuple(name for check in planned.checks for name in check.required)


def run(check: Check, db: RestoredDatabase) -> list[CheckResult]:
    """Ask one question; how long it took goes into the first answer.

    Whatever is raised inside means that the question was not answered: ``skipped``, which makes the
    verdict PARTIAL. It is never an exception here, since the other answers must be kept.
    """
    started = time.monotonic()
    try:
        found = check.run(db)
    except PraError as error:
        return _unanswered(check, started, f"{error.op}: {error.message}" if error.op else error.message)
    except Exception as error:
        # A defect of the check itself, or a server that went away: said, not hidden, and never green.
        return _unanswered(check, started, f"{type(error).__name__}: {first_line(error)}")
    results = found if isinstance(found, list) else [found]
    if results and not any(result.seconds for result in results):
        results = [replace(results[0], seconds=time.monotonic() - started), *results[1:]]
    return results


def _unanswered(check: Check, started: float, reason: str) -> list[CheckResult]:
    seconds = time.monotonic() - started
    return [
        CheckResult(name, Status.SKIPPED, observed="not answered", reason=reason, seconds=seconds)
        for name in check.required
    ]


def run_all(db: RestoredDatabase, jobs: int = 2) -> list[CheckResult]:
    """Plan, run side by side, and return every result, those ruled out first."""
    planned = plan(db)
    with ThreadPoolExecutor(jobs, thread_name_prefix="check") as pool:
        answers = list(pool.map(lambda check: run(check, db), planned.checks))
    return [*planned.ruled_out, *(result for answer in answers for result in answer)]


class Checks:
    """The checks that PRA ships, as `pra.restored.CheckSet` asks for them."""

    def names(self, database: RestoredDatabase) -> Sequence[str]:
        return [check.name for check in plan(database).checks]

    def ruled_out(self, database: RestoredDatabase) -> Sequence[CheckResult]:
        return plan(database).ruled_out

    def required(self, database: RestoredDatabase) -> Sequence[str]:
        return required(plan(database))

    def run(self, name: str, database: RestoredDatabase) -> Sequence[CheckResult]:
        for check in plan(database).checks:
            if check.name == name:
                return run(check, database)
        return [CheckResult(name, Status.SKIPPED, reason="no such check in the plan")]
