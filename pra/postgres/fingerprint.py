"""Row count and content digest of every table, in one snapshot, by several sessions at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, SimpleQueue

import psycopg
from psycopg import sql

from pra.errors import PostgresError
from pra.postgres import definitions, large_objects
from pra.postgres.comparison import compare, compare_matviews, incomparable
from pra.postgres.connect import Connection, one_value
from pra.postgres.digest import (
    Part,
    Sums,
    count_sql,
    digest_sql,
    parts_of,
    sums_of,
)
from pra.postgres.facts import (
    SCHEMA_VERSION,
    Definition,
    Depth,
    Difference,
    Fingerprint,
    LargeObjects,
    SequenceValue,
    TableDigest,
)
from pra.postgres.pinned import closing, pinned_session
from pra.postgres.sequences import compare_sequences, read_sequences
from pra.postgres.tables import Table, list_tables
from pra.timing import Clock, utc_now

__all__ = [
    "SCHEMA_VERSION", "Definition", "Depth", "Difference", "Fingerprint", "LargeObjects", "SequenceValue",
    "TableDigest", "compare", "compare_matviews", "compare_sequences", "incomparable", "read_sequences",
    "take",
]  # fmt: skip

OP = "fingerprint database"
SMALLEST_PART = 32 * 1024 * 1024  # bytes: below, starting another scan costs more than it spreads


@dataclass(frozen=True)
class _Job:
    """One query. ``owner`` is the index of its table; the large objects come after the last table."""

    owner: int
    weight: int
    query: sql.Composed


def take(
    conn_factory: Callable[[], Connection],
    snapshot: str | None = None,
    depth: Depth = "digest",
    jobs: int = 2,
    clock: Clock = utc_now,
    *,
    sequences: Sequence[SequenceValue] | None = None,
    with_definitions: bool = True,
    lock_wait: timedelta = timedelta(seconds=30),
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    only: Callable[[str, str], bool] | None = None,
) -> Fingerprint:
    """Read a fingerprint.

    Args:
        conn_factory: Makes sessions of the backup role; ``jobs`` + 1 are open at once, and all are closed.
        snapshot: An exported snapshot to read in, whose exporter stays open meanwhile; None makes one here.
        depth: ``counts`` reads no row's content: definitions and counts only. ``none`` reads no table.
        sequences: Read before the dump began; None reads them here, which is right only when no dump runs.
        lock_wait: How long to queue for a table that somebody else has locked.
        stop: Set from elsewhere, it cancels the running queries.
        progress: Told bytes done and bytes in all after each part.
        only: Given schema and name, whether to read this table; the others are left out.

    Raises:
        RightsError: The role may not read a table, or row security would hide rows.
        PostgresError: The server refused, was lost, or ``stop`` was set.
    """
    started, taken_at = time.monotonic(), clock()
    with pinned_session(conn_factory, snapshot, lock_wait, OP) as holder:
        if sequences is None:
            with closing(conn_factory()) as other:
                other.autocommit = True
                sequences = read_sequences(other)
        if snapshot is None:
            snapshot = str(one_value(holder, "SELECT pg_export_snapshot()"))
        listed = list_tables(holder) if depth != "none" else []
        tables = [table for table in listed if only is None or only(table.schema, table.name)]
        plan = [*_table_jobs(tables, depth, jobs), *_large_object_jobs(holder, depth, len(tables))]
        with _sessions(conn_factory, snapshot, lock_wait, min(jobs, len(plan))) as workers:
            sums = _carry_out(plan, workers, stop, progress)
        found = definitions.read_all(holder) if with_definitions else definitions.Catalogue((), ())
        digests = [_table_digest(table, sums.get(i), depth) for i, table in enumerate(tables)]
        return Fingerprint(
            depth=depth,
            server_version_num=holder.info.server_version,
            snapshot=snapshot,
            visible=str(one_value(holder, "SELECT pg_current_snapshot()")),
            taken_at=taken_at,
            seconds=time.monotonic() - started,
            tables=tuple(d for d in digests if not d.kind.startswith("matview")),
            matviews=tuple(d for d in digests if d.kind.startswith("matview")),
            large_objects=_large_objects(holder, sums.get(len(tables)), depth),
            sequences=tuple(sequences),
            definitions=found.definitions,
            gaps=found.gaps,
        )


@contextmanager
def _sessions(
    conn_factory: Callable[[], Connection], snapshot: str, lock_wait: timedelta, number: int
) -> Iterator[list[Connection]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(pinned_session(conn_factory, snapshot, lock_wait, OP, heap_only=True))
            for _ in range(number)
        ]


def _table_jobs(tables: Sequence[Table], depth: Depth, jobs: int) -> list[_Job]:
    """One job a table; large ones in parts, so that no worker is left alone with the largest."""
    share = max(SMALLEST_PART, sum(table.bytes for table in tables) // (jobs * 8))
    planned = []
    for i, table in enumerate(tables):
        if table.kind == "matview-unpopulated":
            continue
        parts: tuple[Part, ...] = (Part(),)
        if jobs > 1 and table.divisible:
            parts = parts_of(table.pages, table.bytes, share)
        for part in parts:
            query = (
                digest_sql(table.schema, table.name, table.columns, part, table.condition)
                if depth == "digest"
                else count_sql(table.schema, table.name, part, table.condition)
            )
            planned.append(_Job(i, table.bytes // len(parts), query))
    return planned


def _large_object_jobs(conn: Connection, depth: Depth, owner: int) -> list[_Job]:
    if depth != "digest" or not large_objects.readable_at_once(conn) or not large_objects.count(conn):
        return []
    size = int(one_value(conn, "SELECT pg_table_size('pg_largeobject')"))
    return [_Job(owner, size, query) for query in large_objects.queries()]


def _carry_out(
    plan: Sequence[_Job],
    workers: Sequence[Connection],
    stop: threading.Event | None,
    progress: Callable[[int, int], None] | None,
) -> dict[int, Sums]:
    """Run the jobs, heaviest first, one at a time per session; the first failure cancels the others."""
    free: SimpleQueue[Connection] = SimpleQueue()
    for conn in workers:
        free.put(conn)

    def run(job: _Job) -> tuple[_Job, Sums]:
        conn = free.get()
        try:
            # Undoing the savepoint gives the table's lock back: thousands kept would fill the lock table.
            with conn.transaction(force_rollback=True):
                row = conn.execute(job.query).fetchone()
        finally:
            free.put(conn)
        return job, sums_of(row or (0,))

    totals: dict[int, Sums] = {}
    done, whole = 0, sum(job.weight for job in plan)
    finished: SimpleQueue[Future[tuple[_Job, Sums]]] = SimpleQueue()
    with ThreadPoolExecutor(max(1, len(workers)), thread_name_prefix="fingerprint") as pool:
        futures = [pool.submit(run, job) for job in sorted(plan, key=lambda job: -job.weight)]
        try:
            for future in futures:
                future.add_done_callback(finished.put)
            for _ in futures:
                job, sums = _next(finished, stop).result()
                totals[job.owner] = totals.get(job.owner, Sums()) + sums
                done += job.weight
                if progress is not None:
                    progress(done, whole)
        except BaseException:
            _abandon(futures, workers)
            raise
    return totals


def _next[T](finished: SimpleQueue[T], stop: threading.Event | None) -> T:
    while True:
        if stop is not None and stop.is_set():
            raise PostgresError("stopped on request", op=OP, transient=True)
        try:
            return finished.get(timeout=0.2)
        except Empty:
            continue


def _abandon(futures: Sequence[Future[tuple[_Job, Sums]]], workers: Sequence[Connection]) -> None:
    """Start nothing more and cancel what runs, again and again: a query may start just after its cancel."""
    running = {future for future in futures if not future.cancel()}
    while running:
        for conn in workers:
            with suppress(psycopg.Error):  # a session that is lost runs nothing that could be cancelled
                conn.cancel_safe(timeout=5)
        running = wait(running, timeout=0.5).not_done


def _table_digest(table: Table, sums: Sums | None, depth: Depth) -> TableDigest:
    known = sums or Sums()
    digest = known.hex if depth == "digest" and sums is not None else None
    return TableDigest(table.schema, table.name, known.rows, digest, table.bytes, table.kind)


def _large_objects(conn: Connection, sums: Sums | None, depth: Depth) -> LargeObjects:
    if depth == "none":
        return LargeObjects(0, None)
    count = large_objects.count(conn)
    if depth == "counts":
        return LargeObjects(count, None)
    if sums is None and count:
        sums = large_objects.one_by_one(conn)
    return LargeObjects(count, (sums or Sums()).hex)
