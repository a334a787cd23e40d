"""``pra locate``"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from deployments.cli.moments import both, read_moment
from deployments.cli.output import Output
from deployments.cli.session import JsonOption, TargetArgument, start
from pra.engines.flips import Sample
from pra.engines.recovery import lsn_target
from pra.messages import Translate
from pra.postgres.wal import format_lsn
from pra.proc import Scope
from pra.procedures import locate
from pra.procedures.context import Context
from pra.procedures.locating import STEPS, Located, Request
from pra.timing import to_iso

WhileOption = Annotated[
    str,
    typer.Option(
        "--while",
        metavar="SQL",
        help="A query with one boolean answer, such as: select count(*) > 1000 from contracts",
    ),
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="Look from here on, else from the newest full.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Look up to here, else to the end of the WAL.")
]
RepositoryOption = Annotated[
    str | None,
    typer.Option("--repository", metavar="NAME", help="Read it from here, else the first with it."),
]
StepsOption = Annotated[
    int, typer.Option("--steps", min=2, max=10_000, help="Coarse steps; more notice shorter flips.")
]
TimeoutOption = Annotated[int, typer.Option("--timeout", min=1, help="Seconds one question may take.")]


def command(
    context: typer.Context,
    condition: WhileOption,
    target: TargetArgument = None,
    since: FromOption = None,
    until: UntilOption = None,
    repository: RepositoryOption = None,
    steps: StepsOption = STEPS,
    timeout: TimeoutOption = 60,
    json: JsonOption = False,
) -> int:
    """Find the last moment at which a condition still held, to the transaction."""
    session = start(context, json=json)
    out, chosen = session.out, session.settings.target(target)
    request = Request(
        condition, read_moment(since, "--from"), read_moment(until, "--until"), steps=steps, seconds=timeout
    )
    with Scope() as scope, out.follow() as report:
        work = Context(session.settings, chosen, scope, report=report)
        found = locate.run(work, request, repository=repository)
    line = restore_line(chosen.name, found)
    if not out.result("pra/locate/1", located_json(found, line)):
        _show(out, found, line)
    return 0 if found.held is not None else 1


def restore_line(target: str, found: Located) -> str | None:
    """The command that brings the last good state back; None where there is none, or nothing was lost."""
    if found.ended_by is None:
        return None
    before = lsn_target(found.ended_by.lsn, inclusive=False)
    return f"pra restore {target} --into DIR --to {before.argument()} --exclusive"


def located_json(found: Located, line: str | None) -> dict[str, Any]:
    ended = found.ended_by
    return {
        "repository": found.repository,
        "backup_id": found.backup_id,
        "asked": found.asked,
        "held": None if found.held is None else _sample(found.held),
        "ended_by": ended and {"xid": ended.xid, "lsn": format_lsn(ended.lsn), "at": to_iso(ended.at)},
        "transactions": found.transactions,
        "skipped": found.skipped or None,
        "flips": [{"before": _sample(f.before), "after": _sample(f.after)} for f in found.flips],
        "samples": [_sample(sample) for sample in found.samples],
        "restore": line,
    }


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "lsn": format_lsn(sample.lsn),
        "at": to_iso(sample.at) if sample.at else None,
        "holds": sample.holds,
        "problem": sample.problem or None,
    }


def _show(out: Output, found: Located, line: str | None) -> None:
    _ = out.translate
    sentence = _("Asked {asked} times, from backup {backup_id} in {repository} on.")
    out.text(
        sentence.format(
            asked=found.asked, backup_id=escape(found.backup_id), repository=escape(found.repository)
        )
    )
    begin, end = (f"{_when(sample, _)}, LSN {format_lsn(sample.lsn)}" for sample in found.ends)
    out.text(_("Looked from {begin} to {end}.").format(begin=begin, end=end))
    if found.skipped:
        sentence = _("WAL segment {segment} is missing in {repository}: nothing before was looked at.")
        out.text(sentence.format(segment=found.skipped, repository=escape(found.repository)))
    words = {True: _("holds"), False: _("does not hold")}
    rows = [
        [
            _when(flip.after, _),
            format_lsn(flip.after.lsn),
            words[flip.before.holds],
            words[flip.after.holds],
        ]
        for flip in found.flips
    ]
    if rows:
        out.table([_("Noticed at"), "LSN", _("Before"), _("After")], rows)
    if found.held is None:
        out.text(_("It held at none of these steps."))
        return
    if found.ended_by is None:
        out.text(_("It still holds at the end of what is archived."))
        return
    ended = found.ended_by
    sentence = _("Ended by transaction {xid}, committed {moment}, LSN {lsn}; among {count} transactions.")
    out.text(
        sentence.format(
            xid=ended.xid, moment=both(ended.at), lsn=format_lsn(ended.lsn), count=found.transactions
        )
    )
    sentence = _("The last transaction with which it held: {moment}, LSN {lsn}.")
    out.text(sentence.format(moment=_when(found.held, _), lsn=format_lsn(found.held.lsn)))
    out.text(escape(line or ""))


def _when(sample: Sample, _: Translate) -> str:
    return both(sample.at) if sample.at else _("before the first transaction")
