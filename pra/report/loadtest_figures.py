"""The figures of a load test as tables: rounds, load, application, forecast, and the times before."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pra.loadtest.judge import API_P95, API_RATE, BACKUP, LOAD, RTO, SLOW
from pra.loadtest.measures import Load, Query, RoundKind, durable_ratio, of_kind, seconds_of
from pra.loadtest.record import LoadTestRecord
from pra.messages import mark
from pra.model import Status
from pra.report.blocks import Block, Cell, Entry, History, Pairs, Sentence, Table, Tone
from pra.report.headline import tone_of, verdict_word
from pra.report.words import Words

_KINDS: tuple[tuple[RoundKind, str], ...] = (
    ("backup", mark("Backup, full")),
    ("restore", mark("Restore, durable settings")),
    ("restore-fast", mark("Restore, sandbox settings")),
)
_ANSWERS = (
    (RTO, mark("Restored in time (RTO)")),
    (BACKUP, mark("Backup done before the next one is due")),
    (LOAD, mark("The load is served")),
    (SLOW, mark("No query is slow")),
    (API_P95, mark("The application answers in time (95 %)")),
    (API_RATE, mark("The application answers without errors")),
)
_TONES: dict[Status, Tone] = {Status.PASSED: "good", Status.FAILED: "bad", Status.SKIPPED: "unsure"}
_SHOWN = 60
_MEASURABLE = 1.05


def objectives(record: LoadTestRecord, words: Words) -> tuple[Block, ...]:
    """The service level agreement, line by line, with what was measured."""
    _ = words._
    found = {check.name: check for check in record.checks}
    rows = []
    for name, said in _ANSWERS:
        check = found.get(name)
        status = check.status if check else Status.SKIPPED
        rows.append(
            (
                Cell(_(said)),
                Cell(words.name(status), _TONES.get(status, "")),
                Cell(check.expected if check and check.expected else "–"),
                Cell((check.observed or check.reason) if check else words.unknown),
            )
        )
    return (Table((_("Objective"), _("State"), _("Expected"), _("Observed")), tuple(rows)),)


def rounds(record: LoadTestRecord, words: Words) -> tuple[Block, ...]:
    """Times and throughput, in the middle and at both ends."""
    _ = words._
    rows = []
    for kind, said in _KINDS:
        spread = seconds_of(record.rounds, kind)
        if spread is None:
            continue
        every = of_kind(record.rounds, kind)
        rows.append(
            (
                Cell(_(said)),
                Cell(words.number(spread.count)),
                Cell(words.duration(spread.median)),
                Cell(f"{words.duration(spread.least)} … {words.duration(spread.most)}"),
                Cell(_rate(median(each.stored_rate for each in every), words)),
                Cell(_rate(median(each.raw_rate for each in every), words)),
                Cell(f"{words.size(every[0].stored)} / {words.size(every[0].raw)}"),
            )
        )
    if not rows:
        return (Sentence(_("Nothing was timed."), "bad"),)
    columns = (
        _("What"), _("Rounds"), _("Median"), _("Shortest … longest"), _("Stored bytes a second"),
        _("Raw bytes a second"), _("Size stored / raw"),
    )  # fmt: skip
    blocks: list[Block] = [Table(columns, tuple(rows))]
    ratio = durable_ratio(record.rounds)
    if ratio is not None and ratio < _MEASURABLE:
        free = _(
            "Durable settings cost nothing that could be measured here (× {ratio}). "
            "The objective is held against them."
        )
        blocks.append(Sentence(free.format(ratio=words.number(round(ratio, 2)))))
    elif ratio is not None:
        blocks.append(
            Sentence(
                _(
                    "With durable settings a restore takes {ratio} times as long as in a sandbox, where a "
                    "verification measures it. The objective is held against the durable one."
                ).format(ratio=words.number(round(ratio, 2)))
            )
        )
    return tuple(blocks)


def _rate(value: float, words: Words) -> str:
    return f"{words.size(round(value))}/s"


def load(record: LoadTestRecord, words: Words) -> tuple[Block, ...]:
    """Every query beside what it is compared with."""
    _ = words._
    restored, other = record.restored, record.original
    if restored is None:
        return (Sentence(_("No load was put on it."), "unsure"),)
    said = {
        "copy": _("Beside it: the same load on a copy of the original, made directly from the source."),
        "record": _("Beside it: recorded figures ({note}).").format(note=record.beside_note),
        "nothing": _("There was nothing to compare with ({note}).").format(
            note=record.beside_note or words.unknown
        ),
    }[record.beside]
    made = (
        _("The queries are those of AKIG's application; each time is that of a whole transaction.")
        if record.shipped
        else _("The queries were made from the critical tables; each time is that of a whole transaction.")
    )
    slow = {each.name for each in record.slow}
    rows = tuple(
        _compared(query, other.query(query.name) if other else None, query.name in slow, words)
        for query in restored.queries[:_SHOWN]
    )
    columns = (
        _("Query"), _("Runs"), _("Median"), "95 %", "99 %", _("Median beside"), _("95 % beside"), _("Ratio"),
    )  # fmt: skip
    return (
        _totals(restored, other, words),
        Sentence(said, "unsure" if record.beside == "nothing" else ""),
        Sentence(made),
        Table(columns, rows),
    )


def _totals(restored: Load, other: Load | None, words: Words) -> Block:
    _ = words._
    rows = [
        (Cell(_("Clients at once")), Cell(words.number(restored.clients))),
        (Cell(_("Measured for")), Cell(words.duration(restored.seconds))),
        (Cell(_("Transactions a second, restored")), Cell(words.number(round(restored.tps)))),
    ]
    if other is not None:
        rows.append((Cell(_("Transactions a second, beside")), Cell(words.number(round(other.tps)))))
    return Pairs(tuple(rows))


def _compared(query: Query, other: Query | None, slow: bool, words: Words) -> tuple[Cell, ...]:
    ratio = query.median / other.median if other and other.median else None
    factor = f"× {words.number(round(ratio, 2))}" if ratio is not None else words.unknown
    return (
        Cell(query.name, "bad" if slow else "", code=not slow),
        Cell(words.number(query.count)),
        Cell(_ms(query.median, words), "bad" if slow else ""),
        Cell(_ms(query.p95, words)),
        Cell(_ms(query.p99, words)),
        Cell(_ms(other.median, words) if other else words.unknown, "" if other else "unsure"),
        Cell(_ms(other.p95, words) if other else words.unknown, "" if other else "unsure"),
        Cell(factor, "bad" if slow else "" if other else "unsure"),
    )


def _ms(seconds: float, words: Words) -> str:
    return f"{words.number(round(seconds * 1000, 2))} ms"


def api(record: LoadTestRecord, words: Words) -> tuple[Block, ...]:
    _ = words._
    found = record.api
    if found is None:
        why = next((check.reason for check in record.checks if check.name == API_P95), "")
        return (Sentence(_("The application was not asked: {reason}.").format(reason=why or words.unknown)),)
    totals = Pairs(
        (
            (Cell(_("Clients at once")), Cell(words.number(found.clients))),
            (Cell(_("Requests")), Cell(words.number(found.requests))),
            (Cell(_("Errors")), Cell(words.number(found.errors), "bad" if found.errors else "good")),
            (Cell(_("95 % answered within")), Cell(_ms(found.p95, words))),
        )
    )
    rows = tuple(
        (
            Cell(each.name, code=True),
            Cell(words.number(each.count)),
            Cell(_ms(each.median, words)),
            Cell(_ms(each.p95, words)),
            Cell(_ms(each.p99, words)),
        )
        for each in found.endpoints[:_SHOWN]
    )
    return (totals, Table((_("Endpoint"), _("Requests"), _("Median"), "95 %", "99 %"), rows))


def outlook(record: LoadTestRecord, words: Words) -> tuple[Block, ...]:
    """When the RTO will no longer hold, and what that rests on."""
    _ = words._
    found = record.forecast
    if found is None or found.state == "unknown":
        reason = words.said(found.reason) if found else words.unknown
        return (Sentence(_("Not known: {reason}.").format(reason=reason), "unsure"),)
    day = words.day(found.at) if found.at is not None else words.unknown
    said, tone = {
        "holds": (_("The RTO holds for as long as can be seen: the size does not grow towards it."), "good"),
        "until": (_("At this growth the RTO will no longer hold from {day} on.").format(day=day), "unsure"),
        "broken": (_("The RTO does not hold today."), "bad"),
    }[found.state]
    facts = Pairs(
        (
            (Cell(_("Restores it rests on")), Cell(words.number(found.points))),
            (Cell(_("Growth a day")), Cell(words.size(max(found.bytes_a_day, 0)))),
            (Cell(_("Restored a second")), Cell(words.size(found.rate))),
            (Cell(_("Expected for a restore now")), Cell(words.duration(found.seconds_now))),
        )
    )
    how = _(
        "A straight line through the sizes of all restores on record, divided by the median speed of the "
        "last five; sandbox times are converted to durable ones."
    )
    return (Sentence(said, _tone(tone)), facts, Sentence(how))


def _tone(word: str) -> Tone:
    tones: dict[str, Tone] = {"good": "good", "bad": "bad", "unsure": "unsure"}
    return tones[word]


def trend(record: LoadTestRecord, earlier: Sequence[LoadTestRecord], words: Words) -> tuple[Block, ...]:
    """This one, then those before it."""
    _ = words._
    every = (record, *earlier)
    columns = (
        _("When"), _("Verdict"), _("Backup"), _("Restore"), _("Size"), _("Transactions a second"),
        _("Slow queries"),
    )  # fmt: skip
    table = Table(columns, tuple(_past(each, each is record, words) for each in every))
    if not earlier:
        return (Sentence(_("None came before: this is the first.")), table)
    target = words.duration(record.rto.target_seconds if record.rto else None)
    title = _("Median restore with durable settings, the newest on top; target: {target}.").format(
        target=target
    )
    entries = tuple(_entry(each, words) for each in every)
    picture = History(
        title,
        entries,
        _("target {target}").format(target=target),
        record.rto.target_seconds if record.rto else None,
    )
    return (Sentence(title), picture, table)


def _entry(record: LoadTestRecord, words: Words) -> Entry:
    spread = seconds_of(record.rounds, "restore")
    seconds = spread.median if spread else None
    label = (
        f"{words.day(record.started_at)} · {verdict_word(record.verdict, words)} · {words.duration(seconds)}"
    )
    return Entry(label, seconds, tone_of(record.verdict))


def _past(record: LoadTestRecord, this: bool, words: Words) -> tuple[Cell, ...]:
    _ = words._
    when = words.moment(record.started_at)
    backup, restore = seconds_of(record.rounds, "backup"), seconds_of(record.rounds, "restore")
    return (
        Cell(_("{moment} (this one)").format(moment=when) if this else when),
        Cell(verdict_word(record.verdict, words), tone_of(record.verdict)),
        Cell(words.duration(backup.median) if backup else "–"),
        Cell(words.duration(restore.median if restore else None)),
        Cell(words.size(record.tested.bytes) if record.tested else words.unknown),
        Cell(words.number(round(record.restored.tps)) if record.restored else words.unknown),
        Cell(words.number(len(record.slow)), "bad" if record.slow else ""),
    )
