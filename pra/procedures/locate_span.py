"""Which span a search can look at, from the WAL alone: nothing is fetched for what cannot be answered."""

from __future__ import annotations

from pra.engines.cut import Ended
from pra.engines.recovery import IMMEDIATE, lsn_target, say
from pra.errors import IntegrityError, NotFoundError
from pra.procedures.locating import OP, Search, Span


def find_span(this: Search) -> Span:
    """Choose the coarse steps, from the WAL alone. Phase ``span``.

    Raises:
        NotFoundError: No transaction was committed in the span.
        IntegrityError: WAL is missing before its end; says until when one can look.
    """
    plan, request, commits = this.planned.plan, this.request, this.commits()
    with this.session.timeline.phase("span"):
        before = None if request.since is None else commits.last(plan.consistent, request.since)
        start = plan.consistent if before is None else before.lsn + 1
        if plan.missing:
            _demand_end(this, commits.last(start))
        last = commits.last(start, request.until)
        if last is None:
            raise _nothing(this)
        first = IMMEDIATE if before is None else lsn_target(before.lsn)
        return Span(first, tuple(commits.spread(start, last.lsn + 1, request.steps)))


def _demand_end(this: Search, newest: Ended | None) -> None:
    """``newest`` is the last transaction before the hole: what came later nobody can tell."""
    plan, until = this.planned.plan, this.request.until
    if newest is not None and until is not None and until <= newest.at:
        return
    hint = "Use another repository, or another span; see: pra windows"
    if newest is not None:
        hint = f'Use another repository, or look no further than it leads: --until "{say(newest.at)}"'
    raise IntegrityError(
        f"WAL segment {plan.missing} is missing in {plan.repository}, before the end of the span",
        op=OP,
        hint=hint,
    )


def _nothing(this: Search) -> NotFoundError:
    plan = this.planned.plan
    if this.skipped:
        return NotFoundError(
            f"no transaction is archived behind {plan.manifest.backup_id}, and before it "
            f"WAL segment {this.skipped} is missing in {plan.repository}",
            op=OP,
            hint="Look before that with --until. Unless it is streamed (pra wal stream), WAL comes with "
            "backups alone, and nothing between them can be looked at.",
        )
    return NotFoundError(
        "no transaction was committed in the span",
        op=OP,
        hint="Choose another one with --from and --until; pra windows shows what there is.",
    )
