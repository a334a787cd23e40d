"""The load test: prepare → backup → restore → original → load → api → integrity → report.

Backups and restores are timed in rounds. The last restore stays up; load is put on it, and the same load on a
copy of the original, so that a database that came back slow is seen. Whatever happens, all that was started
and written is gone at the end; if this process is killed, its processes end with it (`pra.deadman`), and the
next start removes its folder and writes into the evidence that the load test was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pra import ephemeral
from pra.errors import PraError, UsageError
from pra.evidence_body import common
from pra.evidence_record import EvidenceRecord
from pra.loadtest import history, interrupted, judge, rounds, under_load
from pra.loadtest.forecast import forecast
from pra.loadtest.measures import durable_ratio, seconds_of
from pra.loadtest.original import copy_of_original
from pra.loadtest.pgbench import PROGRAM
from pra.loadtest.record import LOAD_TEST, LoadTestRecord, Tested
from pra.loadtest.state import LoadTest, Order
from pra.model import Verdict, verdict_of
from pra.postgres.sandbox import sandbox_account, sandbox_root
from pra.postgres.tools import SERVER, find_tools
from pra.procedures import session
from pra.procedures.capacity import check_free
from pra.procedures.context import Context
from pra.procedures.preflight import SCHEDULE
from pra.procedures.session import finding
from pra.settings import Settings
from pra.timing import Objective

PHASES = ("prepare", "backup", "restore", "original", "load", "api", "integrity", "report")
PREFIX = "load-"
MOST_ROUNDS, MOST_CLIENTS, MOST_SECONDS = 20, 64, 3600
_REQUIRED = (judge.RTO, judge.LOAD, judge.INDEXES, judge.STATISTICS, judge.INTEGRITY)


@dataclass(frozen=True)
class LoadTestReport:
    """The outcome: the record as it was written, where, and the load tests before it, newest first."""

    record: LoadTestRecord
    evidence: EvidenceRecord
    earlier: tuple[LoadTestRecord, ...] = ()

    @property
    def verdict(self) -> Verdict:
        return Verdict(self.record.verdict)


@contextmanager
def open_load_test(context: Context, order: Order) -> Iterator[LoadTest]:
    """What one load test owns; gone on leaving.

    Raises:
        UsageError: Rounds, clients or seconds are out of range.
        SettingsError: There is no key to sign the record with.
    """
    for name, value, most in (
        ("rounds", order.rounds, MOST_ROUNDS),
        ("clients", order.clients, MOST_CLIENTS),
        ("seconds", order.seconds, MOST_SECONDS),
    ):
        if not 1 <= value <= most:
            raise UsageError(
                f"{name} is {value}", op="run load test", hint=f"Give a number from 1 to {most}."
            )
    _ = context.signer  # what cannot be recorded proves nothing: better said now
    root = sandbox_root(context.settings.sandbox.dir, context.state_dir)
    clean_up(context.settings, root)
    with ExitStack() as stack:
        home = stack.enter_context(ephemeral.ephemeral(root, PREFIX))
        home.chmod(0o711)  # the servers' account has to get to its folders
        account = sandbox_account(context.settings.sandbox.account)
        this = LoadTest(context, order, stack, home, account, context.clock())
        this.facts |= common(context.settings, context.target, operator=order.operator or context.operator)
        try:
            yield this
        except BaseException:
            # A signal, a cancellation, a mistake of ours: an auditor sees that it was begun.
            if this.has_begun and not this.recorded:
                interrupted.remember(home, context.settings)
            raise


def clean_up(settings: Settings, root: Path) -> list[Path]:
    """Remove what load tests that were killed left behind, and write into the evidence that they were.

    Their processes ended with them: see `pra.deadman`.
    """
    return ephemeral.sweep(root, PREFIX, lambda folder: interrupted.remember(folder, settings))


# -- the phases -----------------------------------------------------------------------------------------


def prepare(this: LoadTest) -> None:
    """Choose the newest backup, and find what would stop the test.

    Raises:
        NotFoundError: There is no backup, or no such repository. IntegrityError: Its manifest is damaged.
        ToolError: `pgbench` is not here. SpaceError: There is no room.
    """
    with this.phase("prepare"):
        context, order = this.context, this.order
        repository = order.repository or next(iter(context.repositories))
        this.choice = session.choose(context, "newest", repository)
        manifest = this.choice.manifest
        if manifest is None:
            assert this.choice.error is not None
            raise this.choice.error
        major = manifest.server.version_num // 10000
        this.tools = find_tools(major, context.settings.postgres.bindir, needs=(*SERVER, PROGRAM))
        this.facts["versions"] = {**this.facts["versions"], "postgres": this.tools.version}
        check_free(this.home, manifest.server.database_bytes * 3 + manifest.bytes * 2)


def backup(this: LoadTest) -> None:
    """Take backups in rounds. One that cannot be taken is an answer, and the rest goes on."""
    with this.phase("backup"):
        order = this.order
        if not order.backup:
            this.results.append(judge.no_backup())
            return
        try:
            for _ in range(order.rounds):
                this.rounds.append(rounds.back_up(this.context, this.home, scratch=order.scratch))
        except PraError as error:
            _go_on(this, error)
            this.results.append(judge.failed(judge.BACKUP, "a backup is taken", error))
            return
        this.results.append(judge.backup_interval(this.rounds, SCHEDULE))


def restore(this: LoadTest) -> None:
    """Restore in rounds, with the sandbox's settings and with durable ones in turn; the last one stays up.

    Raises:
        PraError: It could not be restored here, which says nothing about the backup.
    """
    assert this.choice is not None
    with this.phase("restore"):
        try:
            for number in range(this.order.rounds):
                last = number == this.order.rounds - 1
                _restore(this, durable=False, keep=False)
                _restore(this, durable=True, keep=last)
        except PraError as error:
            found = None if this.context.scope.closed else finding(error, "restore")
            if found is None:
                raise
            this.results.append(found)
            return
        slowest = seconds_of(this.rounds, "restore")
        assert slowest is not None
        target = this.context.target.rto.total_seconds()
        this.results.append(judge.rto(Objective("RTO", target, slowest.most)))


def _restore(this: LoadTest, *, durable: bool, keep: bool) -> None:
    assert this.choice is not None
    with ExitStack() as stack:
        held, done = rounds.restore(this.context, this.choice, stack, durable=durable)
        this.rounds.append(done)
        if keep:
            this.session = held
            this.stack.push(stack.pop_all())


def original(this: LoadTest) -> None:
    """Make a copy of the original to compare with; where that is not possible, say why and go on."""
    if this.session is None:
        return
    with this.phase("original"):
        if not this.order.backup:
            this.beside_note = "the source was not to be read (--no-backup)"
            return
        assert this.tools is not None
        try:
            manifest = this.session.manifest
            copy = copy_of_original(this.context, this.home, manifest, this.tools, this.account)
            this.original = this.stack.enter_context(copy)
        except PraError as error:
            _go_on(this, error)
            this.beside_note = error.message
            this.deviations.append(f"No copy of the original was made: {error.message}.")


def load(this: LoadTest) -> None:
    """Put the load on the restored database, and on its copy; find what is slow, and why."""
    if this.session is None:
        return
    with this.phase("load"):
        try:
            under_load.prepare(this)
            under_load.measure(this)
            under_load.compare(this)
        except PraError as error:
            _go_on(this, error)
            this.results.append(judge.failed(judge.LOAD, "the load is served, and compared", error))


def api(this: LoadTest) -> None:
    """Ask the application's endpoints from many clients at once, where one is configured."""
    if this.session is None:
        return
    with this.phase("api"):
        under_load.ask_application(this)


def integrity(this: LoadTest) -> None:
    """Read the tables again that the load must not have changed."""
    if this.session is None:
        return
    with this.phase("integrity"):
        try:
            this.results.append(under_load.integrity(this))
        except PraError as error:
            _go_on(this, error)
            this.results.append(judge.unanswered(judge.INTEGRITY, "the same data", error.message))


def _go_on(this: LoadTest, error: PraError) -> None:
    """What a signal has ended is no answer."""
    if this.context.scope.closed:
        raise error


def conclude(this: LoadTest) -> LoadTestReport:
    """Judge, look ahead, and leave the evidence."""
    with this.phase("report"):
        past = history.read_records(this.context)
        record = _record(this)
        # One below 1 is noise: durable settings do not make anything faster.
        ratio = max(durable_ratio(this.rounds) or 1.0, 1.0)
        points = history.points(past, ratio)
        now = history.point_of(record)
        seen = [*points, now] if now is not None else points
        record = replace(record, forecast=forecast(seen, this.context.target.rto.total_seconds()))
    record = replace(record, steps=tuple(this.steps), ended_at=this.context.clock())
    stored = this.context.evidence.append(LOAD_TEST, record.as_json())
    this.recorded = True
    earlier = tuple(test for _, test in history.load_tests(past))[: history.EARLIER]
    return LoadTestReport(record, stored, earlier)


def _record(this: LoadTest) -> LoadTestRecord:
    slowest = seconds_of(this.rounds, "restore")
    target = this.context.target
    required = _REQUIRED if this.session is not None else ()
    return LoadTestRecord(
        target=target.name,
        verdict=verdict_of(this.results, required=required),
        started_at=this.started_at,
        ended_at=this.context.clock(),
        engine=target.engine,
        hardware=this.hardware,
        major=this.tools.major if this.tools is not None else 0,
        tested=_tested(this),
        rounds=tuple(this.rounds),
        rto=Objective("RTO", target.rto.total_seconds(), slowest.most if slowest else None),
        interval_seconds=SCHEDULE.total_seconds(),
        restored=this.restored_load,
        original=this.original_load,
        beside=this.beside,
        beside_note=this.beside_note,
        shipped=this.shipped,
        slow=tuple(this.slow),
        api=this.api,
        checks=tuple(this.results),
        deviations=tuple(this.deviations),
        facts=this.facts,
    )


def _tested(this: LoadTest) -> Tested | None:
    choice = this.choice
    if choice is None or choice.manifest is None:
        return None
    manifest = choice.manifest
    age = (this.started_at - manifest.taken_at).total_seconds()
    raw = rounds.raw_bytes(manifest)
    return Tested(choice.backup_id, choice.repository, choice.manifest_sha256, manifest.bytes, raw, age)


STEPS: tuple[Callable[[LoadTest], None], ...] = (prepare, backup, restore, original, load, api, integrity)


def run(context: Context, order: Order) -> LoadTestReport:
    """Drive the whole load test.

    Raises:
        PraError: There is no backup that could be restored here, or the record could not be written. Whatever
            else goes wrong is an answer of the test.
    """
    with open_load_test(context, order) as this:
        for step in STEPS:
            step(this)
        return conclude(this)
