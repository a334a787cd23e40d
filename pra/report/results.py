"""What was measured: objectives, timeline, rows, and the same in the drills before."""

from __future__ import annotations

from collections.abc import Sequence

from pra.drill.record import DrillRecord
from pra.model import Verdict
from pra.report.blocks import Block, Cell, Entry, History, Pairs, Picture, Sentence, Table, Tone
from pra.report.chart import chart_of, waited
from pra.report.headline import tone_of, verdict_word
from pra.report.words import Words
from pra.timing import Objective

_EARLIER = 5
_TONES: dict[bool | None, Tone] = {True: "good", False: "bad", None: "unsure"}


def objectives(record: DrillRecord, words: Words) -> tuple[Block, ...]:
    """RTO and RPO against their targets, and the moments on the way."""
    _ = words._
    table = Table(
        (_("Objective"), _("Target"), _("Measured"), _("Met"), _("How it was measured")),
        (
            _objective(_("RTO (service back)"), record.rto, record.rto_how, words),
            _objective(_("RPO (data lost)"), record.rpo, record.rpo_how, words),
        ),
    )
    times = (
        (_("Disaster to detection"), record.detect_seconds),
        (_("Recovery itself"), record.recover_seconds),
        (_("Disaster to service answering"), record.service_seconds),
        (_("Disaster to every check passed"), record.proven_seconds),
        (_("Of all that, waiting for people"), waited(record.steps) if record.steps else None),
    )
    return (
        table,
        Pairs(tuple((Cell(name), _known(words.duration(seconds), words)) for name, seconds in times)),
    )


def _objective(name: str, objective: Objective | None, how: str, words: Words) -> tuple[Cell, ...]:
    if objective is None:
        unknown = Cell(words.unknown, "unsure")
        return (Cell(name), unknown, unknown, unknown, _known(words.said(how), words))
    measured = words.duration(objective.seconds)
    if objective.share is not None:
        measured = words._("{duration} ({share} of the target)").format(
            duration=measured, share=words.share(objective.share)
        )
    return (
        Cell(name),
        Cell(words.duration(objective.target_seconds)),
        _known(measured, words),
        Cell(words.yes_no(objective.met), _TONES[objective.met]),
        _known(words.said(how), words),
    )


def timeline(record: DrillRecord, words: Words) -> tuple[Block, ...]:
    _ = words._
    chart = chart_of(record)
    if chart is None:
        return (Sentence(_("No phase was recorded."), "unsure"),)
    rows = tuple(
        (
            Cell(words.name(bar.name)),
            Cell(words.elapsed(bar.start)),
            Cell(words.duration(bar.seconds)),
            Cell(_("waiting for a person") if bar.waiting else _("at work")),
        )
        for bar in chart.bars
    )
    phases = Table((_("Phase"), _("Began"), _("Duration"), _("Kind")), rows)
    zero = _("Zero is the disaster.") if chart.from_disaster else _("Zero is the beginning.")
    blocks: list[Block] = [
        Sentence(
            _("Measured on our own clock. {zero} Time spent waiting for people is hatched.").format(zero=zero)
        ),
        Picture(chart, phases, _("The phases as a table")),
    ]
    if chart.left_out:
        blocks.append(
            Sentence(
                _("{count} shorter phases are in the evidence record only.").format(
                    count=words.number(chart.left_out)
                )
            )
        )
    return tuple(blocks)


def rows(record: DrillRecord, words: Words) -> tuple[Block, ...]:
    """Counted outside the database while it happened."""
    _ = words._
    counted = record.rows
    if counted is None:
        return (Sentence(_("Nobody counted rows: how many were lost is not known."), "unsure"),)
    lost: Tone = "unsure" if counted.lost else "good"
    missing: Tone = "bad" if counted.missing else "good"
    return (
        Sentence(_("Numbered rows, counted outside the database while it happened.")),
        Pairs(
            (
                (Cell(_("Committed before the disaster")), Cell(words.number(counted.committed))),
                (Cell(_("Of those, lost")), Cell(words.number(counted.lost), lost)),
                (
                    Cell(_("Of those lost, committed before the moment recovered to")),
                    Cell(words.number(counted.missing), missing),
                ),
            )
        ),
    )


def trend(record: DrillRecord, earlier: Sequence[DrillRecord], words: Words) -> tuple[Block, ...]:
    """This one, then the five before."""
    _ = words._
    before = earlier[:_EARLIER]
    columns = (
        _("When"),
        _("Verdict"),
        _("Detected"),
        _("Service answers"),
        _("Checks passed"),
        _("Rows lost"),
    )
    this = _("{moment} (this one)").format(moment=words.moment(record.started_at))
    lines = [_past(record, this, words)]
    lines += [_past(each, words.moment(each.started_at), words) for each in before]
    table = Table(columns, tuple(lines))
    if not before:
        return (Sentence(_("None came before: this is the first.")), table)
    return (*_history((record, *before), words), *_compared(record, before[0], words), table)


def _history(records: Sequence[DrillRecord], words: Words) -> tuple[Block, ...]:
    _ = words._
    rto = records[0].rto
    entries = tuple(
        Entry(
            f"{words.day(each.started_at)} · {verdict_word(each.verdict, words)} · "
            f"{words.duration(each.service_seconds)}",
            each.service_seconds,
            tone_of(each.verdict),
        )
        for each in records
    )
    said = words.duration(rto.target_seconds if rto else None)
    title = _("Until the service was back, the newest on top; target: {target}.").format(target=said)
    picture = History(
        title, entries, _("target {target}").format(target=said), rto.target_seconds if rto else None
    )
    return (Sentence(title), picture)


def _past(record: DrillRecord, when: str, words: Words) -> tuple[Cell, ...]:
    return (
        Cell(when),
        Cell(verdict_word(record.verdict, words), tone_of(record.verdict)),
        _known(words.duration(record.detect_seconds), words),
        _known(words.duration(record.service_seconds), words),
        _known(words.duration(record.proven_seconds), words),
        _known(words.number(record.rows.lost if record.rows else None), words),
    )


def _compared(record: DrillRecord, before: DrillRecord, words: Words) -> tuple[Block, ...]:
    """Faster or slower than the last time, where both are known."""
    _ = words._
    now, then = record.service_seconds, before.service_seconds
    if now is None or then is None or before.verdict not in set(Verdict):
        return ()
    change = words.duration(abs(now - then))
    sentence = (
        _("The service answered {duration} later than the time before.")
        if now > then
        else _("The service answered {duration} sooner than the time before.")
    )
    return (Sentence(sentence.format(duration=change)),)


def _known(text: str, words: Words) -> Cell:
    return Cell(text, "unsure" if text == words.unknown else "")
