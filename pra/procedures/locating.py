"""The search itself: look at some states, notice the flips, look closer at the last one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pra.engines.cut import Ended
from pra.engines.flips import Flip, Sample, flips, last_end, positions
from pra.engines.recovery import RecoveryTarget, lsn_target
from pra.errors import RestoreError, TargetPassed, UsageError
from pra.postgres.condition import ask
from pra.postgres.data_copy import copy_data, remove_copy
from pra.postgres.recovering_server import RecoveringServer
from pra.procedures.recovering import Planned, Recovery, open_server
from pra.procedures.session import Session
from pra.wal.commits import LISTED, Commits

OP = "locate"
STEPS = 48
"""Coarse steps over the span; a flip and its opposite between two of them go unnoticed."""
FAN = 16
"""Steps into which each finer look divides an interval."""


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
        skipped: The WAL segment for want of which nothing before the first sample was looked at; else empty.
    """

    repository: str
    backup_id: str
    samples: tuple[Sample, ...]
    held: Sample | None
    ended_by: Transaction | None
    asked: int
    transactions: int
    skipped: str = ""

    @property
    def ends(self) -> tuple[Sample, Sample]:
        """The ends of the span."""
        return self.samples[0], self.samples[-1]

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
class Search:
    """One search under way: ``kept`` is the state that every look copies. ``skipped`` as in `Located`."""

    kept: Recovery
    request: Request
    told: Told
    skipped: str = ""
    asked: int = 0
    problems: set[str] = field(default_factory=set)
    answered: bool = False
    brought_forward: bool = False

    @property
    def session(self) -> Session:
        return self.kept.session

    @property
    def planned(self) -> Planned:
        return self.kept.planned

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


@dataclass(frozen=True)
class Span:
    """Where the first question is asked, and at which transactions the others are."""

    first: RecoveryTarget
    commits: tuple[Ended, ...]


def search(this: Search, span: Span) -> Located:
    """Coarse steps, then finer ones, once the backup is there. Raises as `pra.procedures.locate.run`."""
    plan = this.planned.plan
    commits = this.commits()
    with this.session.timeline.phase("coarse steps"):
        samples = _look(this, [span.first, *(lsn_target(each.lsn) for each in span.commits)])
    if not this.answered:
        raise UsageError(
            f"the condition could be asked nowhere in the span: {'; '.join(sorted(this.problems))[:300]}",
            op=OP,
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
        skipped=this.skipped,
    )


def _look(this: Search, targets: Sequence[RecoveryTarget]) -> list[Sample]:
    """Ask at each of these positions, which lie one behind the other, on a copy of the kept state."""
    copy = this.kept.data.parent / "looked"
    scope = this.session.context.scope
    try:
        copy_data(scope, this.kept.data, copy)
        with open_server(Recovery(this.session, this.planned, copy)) as server:
            samples: list[Sample] = []
            for number, target in enumerate(targets, 1):
                # A record may reach past the next position: it was replayed whole.
                if not samples or target.lsn is None or target.lsn >= samples[-1].lsn:
                    samples.append(_sample(this, server, target, started=bool(samples)))
                this.session.context.report("locate", number, len(targets))
            server.stop(quick=True)  # this copy is not needed any more
            return samples
    finally:
        remove_copy(copy)


def _sample(this: Search, server: RecoveringServer, target: RecoveryTarget, *, started: bool) -> Sample:
    try:
        if started:
            server.advance(target)
        else:
            server.start(target, this.timeline)
    except TargetPassed:
        raise RestoreError(
            f"nothing can be asked at {target.text()}: a transaction with many subtransactions was running",
            op=OP,
            hint="Look at a span without it, with --from and --until.",
        ) from None
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


def _narrow(this: Search, commits: Commits, flip: Flip) -> tuple[int, Sample, Transaction]:
    """From the interval of the last flip to the transaction that made it."""
    with this.session.timeline.phase("fine steps"):
        before = flip.before
        while commits.segments(flip.before.lsn, flip.after.lsn) > LISTED:
            inside = commits.spread(flip.before.lsn, flip.after.lsn, FAN)
            if len(inside) < 2:
                break  # a single one fills it: that is the one
            _keep(this, before)
            found = _look(this, [lsn_target(each.lsn) for each in inside[:-1]])
            flip = _last_end([flip.before, *found, flip.after])
        else:
            inside = commits.between(flip.before.lsn, flip.after.lsn)
        if not inside:
            raise UsageError(
                "the condition changed between two steps without any transaction in between",
                op=OP,
                hint="It must depend on the database's content alone, not on the clock or on chance.",
            )
        if len(inside) > 1:
            _keep(this, before)
        held, place = _bisect(this, inside, flip)
        ended = inside[place]
        return len(inside), held, Transaction(ended.lsn, ended.xid, ended.at)


def _bisect(this: Search, inside: Sequence[Ended], flip: Flip) -> tuple[Sample, int]:
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


def _keep(this: Search, before: Sample) -> None:
    """Bring the kept state forward, once, to before the flip: from there every finer look is short."""
    if this.brought_forward:
        return
    this.brought_forward = True
    with open_server(this.kept) as server:
        # What begins there is the first record not replayed yet; it may be the one that is looked for.
        server.start(lsn_target(before.lsn, inclusive=False), this.timeline)
