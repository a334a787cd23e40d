"""What happened, told: hypothesis, fault, events, the backup, who decided what, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence

from pra.drill.record import DRILL, Backup, DrillRecord
from pra.report.blocks import Block, Cell, Heading, Items, Pairs, Sentence, Table
from pra.report.chart import DISASTER, moment_of
from pra.report.words import Words

_SHOWN = 50


def events(record: DrillRecord, words: Words) -> tuple[Block, ...]:
    _ = words._
    return (
        Pairs(_scenario(record, words)),
        Heading(_("Events")),
        *_chronology(record, words),
        Heading(_("The backup that was used")),
        *_backup(record, words),
    )


def decisions(record: DrillRecord, words: Words) -> tuple[Block, ...]:
    """Who, when, what."""
    _ = words._
    if not record.interventions:
        return (Sentence(_("None was recorded.")),)
    found = tuple(
        (
            Cell(words.moment(each.at)),
            Cell(each.by or words.unknown, "" if each.by else "unsure"),
            Cell(words.name(each.decision)),
            Cell(each.comment or "–"),
        )
        for each in record.interventions[:_SHOWN]
    )
    table = Table((_("When"), _("Who"), _("Decision"), _("Comment")), found)
    return (table, *left_out(len(record.interventions), words))


def listed(lines: Sequence[str], words: Words) -> tuple[Block, ...]:
    """Sentences of the record, as many as a page bears."""
    if not lines:
        return (Sentence(words._("None was recorded.")),)
    return (Items(tuple(Cell(words.said(line)) for line in lines[:_SHOWN])), *left_out(len(lines), words))


def left_out(count: int, words: Words, shown: int = _SHOWN) -> tuple[Block, ...]:
    if count <= shown:
        return ()
    more = words._("{count} more are in the evidence record.")
    return (Sentence(more.format(count=words.number(count - shown))),)


def _scenario(record: DrillRecord, words: Words) -> tuple[tuple[Cell, Cell], ...]:
    _ = words._
    fault = next((e.what for e in record.events if e.name == DISASTER and e.what), "")
    if record.kind != DRILL:
        return (
            (Cell(_("Kind")), Cell(_("a real failover: it follows no scenario and tests no hypothesis"))),
            (Cell(_("Severity")), _said(record.severity, words)),
            (Cell(_("What failed")), _said(fault, words)),
        )
    return (
        (Cell(_("Scenario")), Cell(record.scenario or words.unknown, code=bool(record.scenario))),
        (Cell(_("Severity")), _said(record.severity, words)),
        (Cell(_("Intensity")), _named(record.intensity, words)),
        (Cell(_("Held true before")), _said(record.hypothesis[0], words)),
        (Cell(_("The fault")), _said(fault, words)),
        (Cell(_("To be true afterwards")), _said(record.hypothesis[1], words)),
    )


def _chronology(record: DrillRecord, words: Words) -> tuple[Block, ...]:
    _ = words._
    if not record.events:
        return (Sentence(_("None was recorded."), "unsure"),)
    ordered = sorted(record.events, key=lambda event: event.at)
    zero = moment_of(ordered, DISASTER) or ordered[0].at
    rows = tuple(
        (
            Cell(words.name(event.name)),
            Cell(words.clock(event.at)),
            Cell(words.elapsed((event.at - zero).total_seconds())),
            Cell(words.said(event.what) if event.what else "–"),
        )
        for event in ordered[:_SHOWN]
    )
    columns = (_("Event"), _("At (UTC)"), _("Elapsed"), _("What"))
    return (Table(columns, rows), *left_out(len(ordered), words))


def _backup(record: DrillRecord, words: Words) -> tuple[Block, ...]:
    _ = words._
    backup = record.backup
    if backup is None:
        return (Sentence(_("No backup was used, or none is known."), "unsure"),)
    signed = Cell(words.name(backup.signature), "good" if backup.signature == "valid" else "bad")
    facts = Pairs(
        (
            (Cell(_("Backup")), Cell(backup.backup_id, code=True)),
            (Cell(_("Repository")), Cell(backup.repository, code=True)),
            (Cell(_("Size")), Cell(words.size(backup.bytes))),
            (Cell(_("Age at the disaster")), Cell(words.duration(backup.age_seconds))),
            (Cell(_("SHA-256 of its manifest")), Cell(backup.manifest_sha256 or words.unknown, code=True)),
            (Cell(_("Signature")), signed),
        )
    )
    return (facts, *_passed_over(record, backup, words))


def _passed_over(record: DrillRecord, backup: Backup, words: Words) -> tuple[Block, ...]:
    """Backups that could not be used, and the price."""
    _ = words._
    if not backup.passed_over:
        return (Sentence(_("No newer backup had to be passed over.")),)
    measured = record.rpo.seconds if record.rpo else None
    cost = _(
        "Newer backups could not be used. The one that was used was {age} old at the disaster; "
        "data lost in the end: {rpo}."
    ).format(age=words.duration(backup.age_seconds), rpo=words.duration(measured))
    return (
        Heading(_("Backups passed over, and what that cost")),
        Sentence(cost, "unsure"),
        *listed(backup.passed_over, words),
    )


def _named(word: str, words: Words) -> Cell:
    return Cell(words.name(word), "" if word.strip() else "unsure")


def _said(text: str, words: Words) -> Cell:
    return Cell(words.said(text), "" if text.strip() else "unsure")
