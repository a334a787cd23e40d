"""What ``pra restore`` of a physical backup says beforehand and afterwards."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from deployments.cli.moments import both, local_zone
from deployments.cli.output import Output, size
from pra.postgres.wal import format_lsn
from pra.procedures.estimate import Estimate
from pra.procedures.physical_plan import PhysicalPlan
from pra.procedures.physical_restore import Restored
from pra.procedures.recovering import Planned
from pra.timing import format_duration, to_iso


def physical_json(planned: Planned) -> dict[str, Any]:
    """What was recovered to, from what."""
    plan = planned.plan
    return {
        "to": plan.target.argument(),
        "inclusive": plan.target.inclusive,
        "timeline": plan.timeline,
        "chain": [manifest.backup_id for manifest in plan.chain],
    }


def restored_json(done: Restored) -> dict[str, Any]:
    return {
        "last_commit_at": to_iso(done.last_commit) if done.last_commit else None,
        "reached_lsn": format_lsn(done.reached) if done.reached is not None else None,
        "notes": list(done.notes),
    }


def show_restored(out: Output, done: Restored) -> None:
    """The last transaction that came back, and what the operator has to know of the new server."""
    _ = out.translate
    lsn = format_lsn(done.reached) if done.reached is not None else "?"
    if done.last_commit is not None:
        sentence = _("The last transaction that came back was committed {moment}; recovered up to LSN {lsn}.")
        out.text(escape(sentence.format(moment=both(done.last_commit), lsn=lsn)))
    else:
        sentence = _("No transaction was replayed: the state is the backup's own; recovered up to LSN {lsn}.")
        out.text(escape(sentence.format(lsn=lsn)))
    for note in done.notes:
        out.text(f"  {escape(note)}")
    out.text(_("Archiving is off and there is no slot: protect the new server before it takes writes."))


def plan_json(plan: PhysicalPlan) -> dict[str, Any]:
    first, last = plan.wal or (None, None)
    return {
        "repository": plan.repository,
        "destination": plan.destination,
        "to": plan.target.argument(),
        "to_utc": to_iso(plan.target.moment) if plan.target.moment else None,
        "inclusive": plan.target.inclusive,
        "timeline": plan.timeline,
        "chain": list(plan.chain),
        "wal": {"first": first, "last": last, "segments": plan.wal_segments, "bytes": plan.wal_bytes},
        "bytes": plan.backup_bytes + plan.wal_bytes,
        "database_bytes": plan.database_bytes,
        "tablespaces": [{"location": old, "into": new} for old, new in plan.tablespaces],
        "lost_after": to_iso(plan.lost_after) if plan.lost_after else None,
        "loses_seconds": None if plan.loses_seconds is None else round(plan.loses_seconds, 3),
        "estimate": _estimate_json(plan.estimate),
        "steps": list(plan.steps),
        "gaps": list(plan.gaps),
    }


def _estimate_json(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "seconds": round(estimate.seconds, 1),
        "bytes_per_second": round(estimate.rate),
        "measured": [
            {"evidence": m.sequence, "kind": m.kind, "bytes": m.bytes, "seconds": round(m.seconds, 3)}
            for m in estimate.measured
        ],
    }


def show_physical_plan(out: Output, plan: PhysicalPlan) -> None:
    if out.result("pra/physical-restore-plan/1", plan_json(plan)):
        return
    _ = out.translate
    sentence = _("From {repository} into {destination}, recovered to: {target}")
    out.text(
        escape(
            sentence.format(
                repository=plan.repository,
                destination=plan.destination,
                target=plan.target.text(local_zone()),
            )
        )
    )
    out.text(escape(_("Full backup: {backup_id}").format(backup_id=plan.chain[0])))
    for backup_id in plan.chain[1:]:
        out.text(escape(_("Incremental backup: {backup_id}").format(backup_id=backup_id)))
    _show_wal(out, plan)
    _show_time(out, plan)
    for old, new in plan.tablespaces:
        sentence = _("Tablespace {old} goes to {new}")
        out.text(escape(sentence.format(old=old, new=new or "?")))
    for number, step in enumerate(plan.steps, 1):
        out.text(f"  {number}. {escape(step)}")
    for gap in plan.gaps:
        out.note(f"gap: {gap}")


def _show_wal(out: Output, plan: PhysicalPlan) -> None:
    _ = out.translate
    if plan.wal is not None:
        sentence = _("WAL on timeline {timeline}: {first} … {last}, {count} segments, {size}")
        out.text(
            escape(
                sentence.format(
                    timeline=plan.timeline,
                    first=plan.wal[0],
                    last=plan.wal[1],
                    count=plan.wal_segments,
                    size=size(plan.wal_bytes),
                )
            )
        )
    sentence = _("{size} to read, about {database_size} when restored")
    out.text(
        sentence.format(
            size=size(plan.backup_bytes + plan.wal_bytes), database_size=size(plan.database_bytes)
        )
    )


def _show_time(out: Output, plan: PhysicalPlan) -> None:
    _ = out.translate
    if plan.estimate is None:
        out.text(_("How long it will take is not known: nothing was restored here before."))
    else:
        sentence = _("It should take about {duration}: {rate} a second, measured by evidence {numbers}.")
        numbers = ", ".join(str(each.sequence) for each in plan.estimate.measured)
        out.text(
            sentence.format(
                duration=format_duration(plan.estimate.seconds),
                rate=size(int(plan.estimate.rate)),
                numbers=numbers,
            )
        )
    if plan.lost_after is not None and plan.loses_seconds is not None:
        sentence = (
            _("What was committed after {moment} may be missing: at most the last {duration}.")
            if plan.target.kind == "latest"
            else _("What was committed after {moment} will be missing: the last {duration}.")
        )
        out.text(
            escape(
                sentence.format(moment=both(plan.lost_after), duration=format_duration(plan.loses_seconds))
            )
        )
    else:
        out.text(_("What was committed after the target will be missing."))
