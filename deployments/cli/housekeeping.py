"""``pra expire`` and ``pra gc``: what retention lets go, and what no backup owns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.markup import escape

from deployments.cli.output import Output, size
from deployments.cli.session import JsonOption, Session, TargetArgument, start
from pra.errors import PraError
from pra.garbage import GcReport
from pra.postgres.wal import format_lsn
from pra.proc import Scope
from pra.procedures import expiry
from pra.procedures.context import Context
from pra.wal.retention import WalPlan

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")]


def expire(
    context: typer.Context, target: TargetArgument = None, dry_run: DryRun = False, json: JsonOption = False
) -> int:
    """Remove the backups that retention no longer keeps, in every repository."""
    session = start(context, json=json)

    def one(work: Context, repository: str) -> dict[str, Any]:
        report = expiry.expire(work, repository, dry_run=dry_run)
        if report.plan.refused:
            raise PraError(report.plan.refused, op="expire", hint="Correct this machine's clock.")
        if not json:
            _show_expiry(session.out, report, dry_run=dry_run)
        return {
            "repository": repository,
            "keep": [
                {"backup_id": kept.backup_id, "reasons": list(kept.reasons)} for kept in report.plan.keep
            ],
            "expire": [{"backup_id": gone.backup_id, "reason": gone.reason} for gone in report.plan.expire],
            "removed": list(report.removed),
            "retained": list(report.retained),
            "wal": [
                {
                    "system_id": each.system_id,
                    "whole_from": None if each.keep_from is None else format_lsn(each.keep_from),
                    "keep": each.keep,
                    "expire": [{"segment": gone.name, "reason": gone.reason} for gone in each.expire],
                }
                for each in report.wal
            ],
            "wal_removed": len(report.wal_removed),
            "wal_retained": list(report.wal_retained),
        }

    return _everywhere(session, target, "pra/expire/1", dry_run, one)


def gc(
    context: typer.Context, target: TargetArgument = None, dry_run: DryRun = False, json: JsonOption = False
) -> int:
    """Remove what killed runs left behind: objects without a manifest, unfinished uploads."""
    session = start(context, json=json)

    def one(work: Context, repository: str) -> dict[str, Any]:
        report = expiry.gc(work, repository, dry_run=dry_run)
        if not json:
            _show_garbage(session.out, repository, report)
        return {
            "repository": repository,
            "removed": list(report.removed),
            "aborted": list(report.aborted),
            "kept": [{"backup_id": backup_id, "reason": reason} for backup_id, reason in report.kept],
            "failed": [{"key": key, "error": error} for key, error in report.failed],
            "bytes": report.bytes,
        }

    return _everywhere(session, target, "pra/gc/1", dry_run, one)


def _everywhere(
    session: Session,
    target: str | None,
    schema: str,
    dry_run: bool,
    one: Callable[[Context, str], dict[str, Any]],
) -> int:
    """Do it in each repository; one that fails does not keep the others from it."""
    chosen = session.settings.target(target)
    items: list[dict[str, Any]] = []
    errors: list[PraError] = []
    with Scope() as scope:
        work = Context(session.settings, chosen, scope)
        for repository in work.repositories:
            try:
                items.append(one(work, repository))
            except PraError as error:
                errors.append(error)
                session.out.note(f"warning: {repository}: {error}")
    if not items and errors:
        raise errors[0]
    session.out.result(schema, {"target": chosen.name, "dry_run": dry_run, "items": items})
    unfinished = errors or any(item.get("failed") for item in items)
    return 2 if unfinished else 0


def _show_expiry(out: Output, report: expiry.ExpiryReport, *, dry_run: bool) -> None:
    _ = out.translate
    rows = [
        *([escape(kept.backup_id), _("kept"), escape(", ".join(kept.reasons))] for kept in report.plan.keep),
        *(
            [escape(gone.backup_id), _fate(_, gone.backup_id, report, dry_run), escape(gone.reason)]
            for gone in report.plan.expire
        ),
    ]
    out.table([_("Backup"), _("Decision"), _("Why")], rows, title=escape(report.repository))
    for each in report.wal:
        _show_wal(out, each, dry_run=dry_run)
    for line in report.wal_retained:
        out.note(f"warning: {line}")


def _show_wal(out: Output, each: WalPlan, *, dry_run: bool) -> None:
    _ = out.translate
    whole = "" if each.keep_from is None else format_lsn(each.keep_from)
    kept = (
        _("WAL of server {server}: {count} objects kept, {size}, whole from {lsn} on.")
        if whole
        else _("WAL of server {server}: {count} objects kept, {size}.")
    )
    out.text(kept.format(server=each.system_id, count=each.keep, size=size(each.keep_bytes), lsn=whole))
    if not each.expire:
        return
    gone = (
        _("{count} WAL objects would go: {first} to {last}.")
        if dry_run
        else _("{count} WAL objects removed: {first} to {last}.")
    )
    first, last = each.expire[0], each.expire[-1]
    out.text("  " + gone.format(count=len(each.expire), first=first.name, last=last.name))
    for reason in sorted({one.reason for one in each.expire}):
        out.text(f"    {escape(reason)}")


def _fate(_: Callable[[str], str], backup_id: str, report: expiry.ExpiryReport, dry_run: bool) -> str:
    if dry_run:
        return _("would go")
    return _("removed") if backup_id in report.removed else _("still locked")


def _show_garbage(out: Output, repository: str, report: GcReport) -> None:
    _ = out.translate
    sentence = (
        _("{repository}: {count} objects would go, {size}.")
        if report.dry_run
        else _("{repository}: {count} objects removed, {size}.")
    )
    count = len(report.removed) + len(report.aborted)
    out.text(sentence.format(repository=escape(repository), count=count, size=size(report.bytes)))
    for key in (*report.removed, *report.aborted):
        out.text(f"  {escape(key)}")
    for key, error in report.failed:
        out.note(f"warning: {key}: {error}")
