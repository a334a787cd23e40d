"""What is done with the restored database once it is up: load, comparison, application, integrity."""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql

from pra.errors import PraError, UsageError
from pra.loadtest import diagnosis, generated, history, judge, queries
from pra.loadtest.api import ask_concurrently
from pra.loadtest.diagnosis import Condition, Plan
from pra.loadtest.measures import Load
from pra.loadtest.pgbench import Mixture, put_load
from pra.loadtest.queries import Script
from pra.loadtest.state import LoadTest
from pra.model import CheckResult, Status
from pra.postgres import definitions
from pra.postgres import fingerprint as fp
from pra.postgres.connect import Connection, Server, postgres_errors
from pra.restored import RestoredDatabase

_API_SECONDS = 10
_ALONE_SECONDS = 2
_CORE = frozenset({"contract-page", "invoices-of-contract", "pay-invoice"})
"""Where these can be planned the database is AKIG's."""
_SHOWN = 50


def prepare(this: LoadTest) -> None:
    """Make the mixture of queries, break what is to be broken, and read what the load must leave alone.

    Raises:
        UsageError: No table can be put under load. PostgresError: The database cannot be read.
    """
    # From the copy where there is one: a query whose index or table is lost here must be asked all the same.
    source = this.original or this.server
    with source.connect() as connection:
        found = queries.usable(connection, queries.akig())
        this.shipped = {script.name for script in found} >= _CORE
        if not this.shipped:
            found = generated.generate(connection, this.context.target.critical_tables)
            found = queries.usable(connection, found)
        elif len(found) < len(queries.akig()):
            absent = sorted({s.name for s in queries.akig()} - {s.name for s in found})
            this.deviations.append(f"Left out, since a table or column is not there: {', '.join(absent)}.")
    if not found:
        raise UsageError(
            "no table can be put under load: none has a primary key of one column",
            op="make load",
            hint="Name critical_tables that have one.",
        )
    with this.server.connect() as connection:
        values = queries.values_of(connection, found)
    this.mixture = Mixture(this.home / "queries", found, values)
    this.mixture.write()
    if this.order.sabotage is not None:
        _sabotage(this)
    if _database(this).recovered is not None:
        this.before = _read(this)


def _database(this: LoadTest) -> RestoredDatabase:
    assert this.session is not None
    assert this.session.database is not None
    return this.session.database


def _sabotage(this: LoadTest) -> None:
    """Break the restored database as a bad restore would."""
    assert this.mixture is not None
    with this.server.connect() as connection, postgres_errors("sabotage"):
        if this.order.sabotage == "no-statistics":
            connection.execute("DELETE FROM pg_catalog.pg_statistic")
            return
        used = {
            index
            for script in this.mixture.scripts
            for index in diagnosis.plan_of(connection, script, this.mixture.values).indexes
        }
        row = connection.execute(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_index i "
            "JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE NOT i.indisunique AND NOT c.relispartition AND c.relname = ANY (%s) "
            "ORDER BY pg_catalog.pg_relation_size(i.indrelid) DESC LIMIT 1",
            (sorted(used),),
        ).fetchone()
        if row is None:
            raise UsageError("no query uses an index that could be dropped", op="sabotage")
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(*row)))


def measure(this: LoadTest) -> None:
    """The same load on both, the restored one first.

    Raises:
        ToolError: The restored database did not serve it.
    """
    this.restored_load = _load(this, this.server)
    this.results.append(judge.load(this.restored_load))
    if this.original is not None:
        try:
            this.original_load = _load(this, this.original)
        except PraError as error:
            if this.context.scope.closed:
                raise
            this.beside_note = error.message
            this.deviations.append(f"The copy of the original did not serve the load: {error.message}.")
        else:
            this.beside, this.beside_note = "copy", "a copy of the original, made for this load test"


def _load(this: LoadTest, server: Server, mixture: Mixture | None = None, seconds: int | None = None) -> Load:
    chosen = mixture or this.mixture
    assert chosen is not None
    assert this.tools is not None
    return put_load(
        this.context.scope,
        this.tools,
        server,
        chosen,
        clients=this.order.clients,
        seconds=seconds or this.order.seconds,
    )


def compare(this: LoadTest) -> None:
    """Judge the restored database by the copy of the original, or by the figures of an earlier load test."""
    restored = this.restored_load
    assert restored is not None
    if this.beside == "nothing":
        past = history.read_records(this.context)
        major = _database(this).tools.major
        found = history.reference(past, this.hardware, major, this.order.clients)
        if found is not None:
            sequence, test, this.original_load = found
            this.beside = "record"
            why = f"{this.beside_note}; " if this.beside_note else ""
            this.beside_note = f"{why}evidence {sequence} of {test.started_at:%Y-%m-%d}, on the same hardware"
    lacks = _condition(this)
    compared, unfinished = 0, []
    if this.original_load is not None:
        compared = sum(this.original_load.query(q.name) is not None for q in restored.queries)
        ours = {script.name for script in this.mixture.scripts} if this.mixture else set()
        there = {query.name for query in this.original_load.queries} & ours
        unfinished = sorted(there - {query.name for query in restored.queries})
        for name, seconds, reference in diagnosis.slower(restored, this.original_load):
            if not _slow_alone(this, name):
                continue
            plan, other = _plans(this, name)
            this.slow.append(diagnosis.explain(name, seconds, reference, plan, other, lacks))
    asked = this.order.backup
    this.results.append(
        judge.slow_queries(this.slow, compared, this.beside, asked=asked, unfinished=unfinished)
    )
    this.results += judge.condition(lacks)


def _slow_alone(this: LoadTest, name: str) -> bool:
    """Whether it is slow by itself too: one slow query keeps processors from all the others."""
    assert this.mixture is not None
    assert this.original_load is not None
    alone = this.mixture.alone(name)
    alone.write()
    here = _load(this, this.server, alone, _ALONE_SECONDS)
    there = this.original_load
    if this.original is not None and this.beside == "copy":
        there = _load(this, this.original, alone, _ALONE_SECONDS)
    return bool(diagnosis.slower(here, there))


def _condition(this: LoadTest) -> Condition:
    database = _database(this)
    with this.server.connect() as connection:
        observed = definitions.read(connection)
        statistics = diagnosis.without_statistics(connection)
    original = None
    if this.original is not None and database.recovered is not None:
        with this.original.connect() as connection:
            original = definitions.read(connection)
    missing = diagnosis.missing_indexes(database.fingerprint.definitions, observed, original)
    return Condition(missing, statistics)


def _plans(this: LoadTest, name: str) -> tuple[Plan, Plan]:
    assert this.mixture is not None
    script = next(each for each in this.mixture.scripts if each.name == name)
    with this.server.connect() as connection:
        here = _plan(this, connection, script)
    if this.original is None:
        return here, Plan()
    with this.original.connect() as connection:
        return here, _plan(this, connection, script)


def _plan(this: LoadTest, connection: Connection, script: Script) -> Plan:
    assert this.mixture is not None
    try:
        return diagnosis.plan_of(connection, script, this.mixture.values)
    except PraError:
        return Plan()  # the query is slow all the same; its reason stays unknown


def ask_application(this: LoadTest) -> None:
    """Start the application against the restored database and ask it; answers go into the results."""
    target, order = this.context.target, this.order
    settings = target.api
    if settings is None or not settings.start or not settings.restore_url:
        missing = "api.start" if settings is None or not settings.start else "api.restore_url"
        this.results += judge.no_api(f"{missing} is not configured")
        return
    seconds = min(order.seconds, _API_SECONDS)
    try:
        this.api = ask_concurrently(
            settings, this.server, this.context.scope, clients=order.clients, seconds=seconds
        )
    except PraError as error:
        if this.context.scope.closed:
            raise
        this.results.append(judge.failed(judge.API_P95, "the application answers", error))
        return
    this.results += judge.api(this.api)


def integrity(this: LoadTest) -> CheckResult:
    """Every table that no query writes to holds what it held: what was saved, or was there before the load.

    Tables that are written to must not have lost rows.

    Raises:
        PostgresError: The database cannot be read.
    """
    expected = this.before or _database(this).fingerprint
    observed = _read(this)
    kept = replace(expected, tables=tuple(t for t in expected.tables if not _written(this, t.schema, t.name)))
    seen = replace(observed, tables=tuple(t for t in observed.tables if not _written(this, t.schema, t.name)))
    lines = [str(difference) for difference in fp.compare(kept, seen)]
    after = {(t.schema, t.name): t.rows for t in observed.tables}
    for table in expected.tables:
        rows = after.get((table.schema, table.name))
        if _written(this, table.schema, table.name) and (rows is None or rows < table.rows):
            lines.append(f"{table.identity}: {table.rows} rows before the load, {rows} after it")
    written = len(expected.tables) - len(kept.tables)
    said = f"{len(kept.tables)} tables unchanged, {written} written to and not smaller"
    if not lines:
        return CheckResult(judge.INTEGRITY, Status.PASSED, said, said)
    observed_said = f"{len(lines)} differences"
    return CheckResult(
        judge.INTEGRITY, Status.FAILED, said, observed_said, lines[0], details=tuple(lines[:_SHOWN])
    )


def _written(this: LoadTest, schema: str, name: str) -> bool:
    assert this.mixture is not None
    return any(f"{schema}.{name}" in script.writes for script in this.mixture.scripts)


def _read(this: LoadTest) -> fp.Fingerprint:
    """Tables alone: sequences and definitions may rightly differ from what was saved elsewhere."""
    depth = _database(this).fingerprint.depth
    return fp.take(
        lambda: this.server.connect(statement_seconds=0, application="pra load test"),
        depth="digest" if depth == "none" else depth,
        jobs=max(this.context.target.jobs, 2),
        sequences=(),
        with_definitions=False,
    )
