"""``pra scrub``"""

from __future__ import annotations

from datetime import tzinfo
from typing import Annotated

import typer
from rich.markup import escape

from deployments.cli.alerting import alerting, tell_scrub
from deployments.cli.moments import local_zone
from deployments.cli.output import Output, coloured, size
from deployments.cli.session import FlowOption, JsonOption, TargetArgument, start
from deployments.cli.through_flow import follow_flow
from pra.engines.recovery_target import say
from pra.errors import UsageError
from pra.messages import Translate
from pra.postgres.wal import format_lsn
from pra.proc import Scope
from pra.procedures import scrub
from pra.procedures.context import Context
from pra.procedures.scrub import RepositoryScrub, ScrubReport
from pra.scrub.cost import LostMoments
from pra.scrub.plan import Amount
from pra.timing import format_duration, utc_now


def command(
    context: typer.Context,
    target: TargetArgument = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="So many objects of each repository.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every stored object.")] = False,
    flow: FlowOption = False,
    json: JsonOption = False,
) -> int:
    """Read stored objects and WAL again, the oldest check first; by default a day's share of a month."""
    if sample and everything:
        raise UsageError("--sample and --all were given", op="choose objects", hint="Give one of the two.")
    session = start(context, json=json)
    chosen = session.settings.target(target)
    if flow:
        asked = {"sample": sample or 0, "everything": everything}
        return follow_flow(session, f"scrub/{chosen.name}", asked)
    with alerting(session, "scrub", chosen.name, typed=True), Scope() as scope:
        work = Context(session.settings, chosen, scope)
        with session.out.follow() as work.report:
            done = scrub.run(work, Amount(everything, sample or 0))
    tell_scrub(session, done)
    _show(session.out, done)
    return done.exit_code


def _show(out: Output, done: ScrubReport) -> None:
    document = {
        "target": done.target,
        "verdict": done.verdict.value,
        "items": [item.as_json() for item in done.items],
        "elsewhere": {backup_id: list(names) for backup_id, names in done.elsewhere.items()},
        "evidence": done.head.as_json(),
    }
    if out.result("pra/scrub/1", document):
        return
    _ = out.translate
    out.text(
        f"{coloured(done.verdict.value)} {escape(done.target)} · "
        + _("Evidence head: {head}").format(head=done.head.short)
    )
    columns = [_("Repository"), _("Objects"), _("WAL"), _("Read"), _("Of"), _("Longest unread"), _("Damaged")]
    out.table(columns, [_cells(item) for item in done.items])
    for item in done.items:
        _show_details(out, item, done, _)


def _cells(item: RepositoryScrub) -> list[str]:
    age = "?" if item.oldest is None else format_duration(max(0.0, (utc_now() - item.oldest).total_seconds()))
    damaged = f"[red]{len(item.damage)}[/]" if item.damage else "0"
    return [
        escape(item.repository),
        str(item.objects),
        str(item.segments),
        size(item.bytes),
        size(item.held_bytes),
        age,
        damaged,
    ]


def _show_details(out: Output, item: RepositoryScrub, done: ScrubReport, _: Translate) -> None:
    for each in item.damage:
        out.text(f"[red]✗[/] {escape(f'{item.repository}: {each.key}: {each.message}')}")
    for backup_id in item.cost.backups:
        others = ", ".join(done.elsewhere.get(backup_id, ())) or _("nowhere else")
        lost = _("{backup_id} cannot be restored from {repository} any more; another copy: {others}")
        line = lost.format(backup_id=backup_id, repository=item.repository, others=others)
        out.text(f"  {escape(line)}")
    zone = local_zone()
    for moments in item.cost.moments:
        out.text(f"  {escape(_moments(moments, zone, _))}")
    for key, message in item.unread:
        out.text(f"[yellow]![/] {escape(f'{item.repository}: {key}: {message}')}")
    if item.overdue:
        late = _("{count} objects should have been read and were too much for a day: raise scrub_bytes")
        out.text(f"[yellow]![/] {escape(item.repository)}: {late.format(count=item.overdue)}")
    if item.by_hash:
        partly = _(
            "of {count} WAL segments only the stored bytes' hash was compared: no age identity is here"
        )
        out.text(f"  {escape(item.repository)}: {partly.format(count=item.by_hash)}")


def _moments(lost: LostMoments, zone: tzinfo, _: Translate) -> str:
    start, end = (say(moment.replace(microsecond=0), zone) for moment in (lost.from_time, lost.to_time))
    if lost.from_lsn is None or lost.to_lsn is None:
        return _("lost moment: {moment}").format(moment=start)
    words = _("lost moments: about {start} to {end}, timeline {timeline}, LSN {from_lsn} to {to_lsn}")
    return words.format(
        start=start,
        end=end,
        timeline=lost.timeline,
        from_lsn=format_lsn(lost.from_lsn),
        to_lsn=format_lsn(lost.to_lsn),
    )
