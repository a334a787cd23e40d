"""Locate: the last moment at which a condition still held, to the transaction.

plan → fetch → coarse steps over the whole span → finer and finer steps inside the last flip.

Each step lets a throwaway server recover up to a position, pauses it there as a hot standby and asks.
Recovery only goes forward: going back means a fresh copy of an earlier state. One is kept, first the backup's
own, then the one before the last flip, so that at most two copies of the server lie on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pra import ephemeral
from pra.engines.cut import Ended
from pra.engines.flips import Flip, Sample, flips, last_end, positions
from pra.engines.recovery import IMMEDIATE, LATEST, RecoveryTarget, lsn_target
from pra.errors import NotFoundError, StorageError, UsageError
from pra.keys import load_identities
from pra.postgres.condition import as_query, ask
from pra.postgres.data_copy import copy_data, remove_copy
from pra.postgres.recovering_server import RecoveringServer
from pra.postgres.sandbox import PREFIX, sandbox_root
from pra.postgres.tools import SERVER, find_tools
from pra.procedures.capacity import check_space
from pra.procedures.context import Context
from pra.procedures.recovering import Planned, Recovery, choice_of, fetch, open_server, plan_recovery
from pra.procedures.session import Session, open_session
from pra.timing import to_iso
from pra.wal.commits import LISTED, Commits

STEPS = 48
"""Coarse steps over the span; a flip and its opposite between two of them go unnoticed."""
FAN = 16
"""Steps into which each finer look divides an interval."""
_OP = "locate"


@dataclass(frozen=True)
class Transaction:
    """A commit: ``lsn`` is where its record begins; ``at`` by the server's clock."""

    lsn: int
    xid: int
    at: datetime


@dataclass(frozen=True)
class Located:
    """What was found.

    Attributes:
        repository, backup_id: What was read.
        samples: The coarse steps' answers, in order: the first and the last are the ends of the span.
        held: The last state at which the condition was seen to hold; None when it held at no step.
        ended_by: The transaction that ended it; None when it never held, or still does at the end.
        asked: How often the condition was asked.
        transactions: Commits between the two coarse steps around the last flip.
    """

    repository: str
    backup_id: str
    samples: tuple[Sample, ...]
    held: Sample | None
    ended_by: Transaction | None
    asked: int
    transactions: int

    @property
    def flips(self) -> tuple[Flip, ...]:
        """Every change that the coarse steps noticed."""
        return flips(self.samples)


@dataclass(frozen=True)
class Request:
    """What to look for.

    Attributes:
        condition: A query that answers with one boolean, or an expression that is one.
        since, until: Commit times; None: the whole window of the newest chain.
        steps: Coarse steps; at least 2.
        seconds: Limit of one question.
    """

    condition: str
    since: datetime | None = None
    until: datetime | None = None
    steps: int = STEPS
    seconds: int = 60


Told = Callable[[Sample], None]
"""Hears every answer as it comes."""


@dataclass
class _Search:
    session: Session
    planned: Planned
    request: Request
    home: Path
    told: Told
    asked: int = 0
    problems: set[str] = field(default_factory=set)
    answered: bool = False
    brought_forward: bool = False

    @property
    def base(self) -> Path:
        """The state that is kept; each look works on a copy of it."""
        return self.home / "kept"

    @property
    def timeline(self) -> int:
        return self.planned.plan.timeline

    def commits(self) -> Commits:
        context, folder = self.session.context, self.session.work / "wal"
        folder.mkdir(mode=0o700, exist_ok=True)
        assert self.session.tools is not None
        return Commits(
            context.storage(self.planned.plan.repository),
            self.planned.archive,
            self.planned.plan,
            self.session.tools,
            context.scope,
            folder,
            self.session.identities,
        )


def run(
    context: Context, request: Request, *, repository: str | None = None, told: Told | None = None
) -> Located:
    """Find the last moment at which the condition held.

    Raises:
        UsageError: It is no boolean, it writes, or it names what never existed in the span.
        NotFoundError: No backup lies before ``since``; says which range exists.
        PostgresError: One question took longer than allowed.
    """
    as_query(request.condition)
    _check_span(request)
    name, planned = choose_plan(context, request, repository)
    with (
        open_session(context, choice_of(planned, context, name), kind="locate") as session,
        _home(session) as home,
    ):
        this = _Search(session, planned, request, home, told or (lambda _: None))
        _prepare(this)
        return _search(this)


def _check_span(request: Request) -> None:
    if request.since is not None and request.until is not None and request.since >= request.until:
        raise UsageError(
            "the span ends before it begins", op=_OP, hint="Give --from a moment before --until."
        )
    if request.steps < 2:
        raise UsageError("fewer than two steps", op=_OP, hint="Give --steps at least 2.")


def choose_plan(context: Context, request: Request, repository: str | None) -> tuple[str, Planned]:
    """The chain that covers the span, from the first repository that can give it.

    Without ``since`` it is the newest chain, from its full backup on.
    """
    *others, last = [repository] if repository else context.repositories
    for name in others:
        with suppress(StorageError, NotFoundError):
            return name, _plan(context, request, name)
    return last, _plan(context, request, last)


def _plan(context: Context, request: Request, repository: str) -> Planned:
    if request.since is None:
        backup_id = plan_recovery(context, repository, LATEST).chain[0].backup_id
    else:
        since = RecoveryTarget("time", to_iso(request.since))
        backup_id = plan_recovery(context, repository, since).plan.manifest.backup_id
    # All contiguous WAL belongs to a plan; a gap matters only where it lies before the end of the span.
    until = LATEST if request.until is None else RecoveryTarget("time", to_iso(request.until))
    return plan_recovery(context, repository, until, backup_id=backup_id)


@contextmanager
def _home(session: Session) -> Iterator[Path]:
    settings = session.context.settings
    root = sandbox_root(settings.sandbox.dir, session.context.state_dir)
    ephemeral.sweep(root, PREFIX)
    with ephemeral.ephemeral(root, PREFIX) as home:
        home.chmod(0o711)  # the server's account has to get to its data
        yield home


def _prepare(this: _Search) -> None:
    """Fetch and assemble the backup into the state that is kept."""
    session, settings = this.session, this.session.context.settings
    manifest = session.manifest
    with session.timeline.phase("preflight"):
        if manifest.encryption == "age":
            session.identities = load_identities(settings.encryption, session.context.state_dir)
        major = manifest.server.version_num // 10000
        session.tools = find_tools(major, settings.postgres.bindir, needs=(*SERVER, "pg_waldump"))
        check_space(manifest, work=this.home, data=this.home)
    fetch(Recovery(session, this.planned, this.base))


def _search(this: _Search) -> Located:
    plan = this.planned.plan
    commits = this.commits()
    with this.session.timeline.phase("span"):
        first, spread = _span(this, commits)
    with this.session.timeline.phase("coarse steps"):
        samples = _look(this, [first, *(lsn_target(each.lsn) for each in spread)])
    if not this.answered:
        raise UsageError(
            f"the condition could be asked nowhere in the span: {'; '.join(sorted(this.problems))[:300]}",
            op=_OP,
            hint="Correct its names, or choose another span with --from and --until.",
        )
    held = next((sample for sample in reversed(samples) if sample.holds), None)
    flip = last_end(samples)
    ended_by, within = None, 0
    if flip is not None:
        within, held, ended_by = _narrow(this, commits, flip)
    return Located(
        repository=plan.repository,
        backup_id=plan.manifest.backup_id,
        samples=tuple(samples),
        held=held,
        ended_by=ended_by,
        asked=this.asked,
        transactions=within,
    )


def _span(this: _Search, commits: Commits) -> tuple[RecoveryTarget, list[Ended]]:
    """Where the first question is asked, and at which transactions the others are.

    Raises:
        NotFoundError: No transaction was committed in the span.
    """
    plan, request = this.planned.plan, this.request
    before = None if request.since is None else commits.last(plan.consistent, request.since)
    start = plan.consistent if before is None else before.lsn + 1
    last = commits.last(start, request.until)
    if last is None:
        raise NotFoundError(
            "no transaction was committed in the span",
            op=_OP,
            hint="Choose another one with --from and --until; pra windows shows what there is.",
        )
    first = IMMEDIATE if before is None else lsn_target(before.lsn)
    return first, commits.spread(start, last.lsn + 1, request.steps)


def _look(this: _Search, targets: Sequence[RecoveryTarget]) -> list[Sample]:
    """Ask at each of these positions, which lie one behind the other, on a copy of the kept state."""
    copy = this.home / "looked"
    scope = this.session.context.scope
    try:
        copy_data(scope, this.base, copy)
        with open_server(Recovery(this.session, this.planned, copy)) as server:
            samples: list[Sample] = []
            for number, target in enumerate(targets, 1):
                # A record may reach past the next position: it was replayed whole.
                if not samples or target.lsn is None or target.lsn >= samples[-1].lsn:
                    samples.append(_sample(this, server, target, started=bool(samples)))
                this.session.context.report("locate", number, len(targets))
            return samples
    finally:
        remove_copy(copy)


def _sample(this: _Search, server: RecoveringServer, target: RecoveryTarget, *, started: bool) -> Sample:
    if started:
        server.advance(target)
    else:
        server.start(target, this.timeline)
    database = server.server.with_database(this.session.manifest.database)
    answer = ask(database, this.request.condition, seconds=this.request.seconds)
    this.asked += 1
    if answer.problem:
        this.problems.add(answer.problem)
    else:
        this.answered = True
    sample = Sample(server.replayed_lsn(), server.last_commit(), answer.holds, answer.problem)
    this.told(sample)
    return sample


def _narrow(this: _Search, commits: Commits, flip: Flip) -> tuple[int, Sample, Transaction]:
    """From the interval of the last flip to the transaction that made it."""
    with this.session.timeline.phase("fine steps"):
        before = flip.before
        while commits.segments(flip.before.lsn, flip.after.lsn) > LISTED:
            inside = commits.spread(flip.before.lsn, flip.after.lsn, FAN)
            _keep(this, before)
            found = _look(this, [lsn_target(each.lsn) for each in inside[:-1]])
            flip = _last_end([flip.before, *found, flip.after])
        inside = commits.between(flip.before.lsn, flip.after.lsn)
        if not inside:
            raise UsageError(
                "the condition changed between two steps without any transaction in between",
                op=_OP,
                hint="It must depend on the database's content alone, not on the clock or on chance.",
            )
        if len(inside) > 1:
            _keep(this, before)
        held, place = _bisect(this, inside, flip)
        ended = inside[place]
        return len(inside), held, Transaction(ended.lsn, ended.xid, ended.at)


def _bisect(this: _Search, inside: Sequence[Ended], flip: Flip) -> tuple[Sample, int]:
    """The last state with which the condition held, and the place of the transaction behind it."""
    low, high = -1, len(inside) - 1
    states: dict[int, Sample] = {low: flip.before, high: flip.after}
    while high - low > 1:
        asked = positions(low, high, FAN + 1)[1:-1]
        states.update(zip(asked, _look(this, [lsn_target(inside[n].lsn) for n in asked]), strict=True))
        ordered = [low, *asked, high]
        end = _last_end([states[number] for number in ordered])
        low = next(n for n in reversed(ordered) if states[n] is end.before)
        high = next(n for n in ordered if states[n] is end.after)
    return states[low], high


def _last_end(samples: Sequence[Sample]) -> Flip:
    found = last_end(samples)
    assert found is not None  # it holds at the low end and not at the high one
    return found


def _keep(this: _Search, before: Sample) -> None:
    """Bring the kept state forward, once, to the one before the flip: from there every finer look is short."""
    if this.brought_forward:
        return
    this.brought_forward = True
    with open_server(Recovery(this.session, this.planned, this.base)) as server:
        # What begins there is the first record not replayed yet; it may be the one that is looked for.
        server.start(lsn_target(before.lsn, inclusive=False), this.timeline)
