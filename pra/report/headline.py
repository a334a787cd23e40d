"""The one sentence for the manager: are we inside our objectives, how long was it away, what was lost."""

from __future__ import annotations

from pra.drill.record import DRILL, INTERRUPTED, DrillRecord
from pra.model import Status, Verdict
from pra.report.blocks import Tone
from pra.report.words import Words


def headline(record: DrillRecord, words: Words) -> str:
    """Never better than the verdict: met objectives of a recovery that is not proven say so first."""
    return words._("{standing}: {away}, and {rows}.").format(
        standing=_standing(record, words), away=_back(record, words), rows=_rows(record, words)
    )


def tone_of(verdict: Verdict | str) -> Tone:
    tones: dict[str, Tone] = {Verdict.PASS: "good", Verdict.PARTIAL: "unsure", Verdict.FAIL: "bad"}
    return tones.get(str(verdict), "unsure")


def verdict_word(verdict: Verdict | str, words: Words) -> str:
    """PASS, PARTIAL and FAIL are the same in every language; what is none of them is translated."""
    return str(verdict) if isinstance(verdict, Verdict) else words.name(verdict).upper()


def _standing(record: DrillRecord, words: Words) -> str:
    _ = words._
    if record.verdict == INTERRUPTED:
        if record.kind == DRILL:
            return _("The drill was interrupted and proves nothing")
        return _("The failover was interrupted and proves nothing")
    objectives = (record.rto, record.rpo)
    missed = [each.name for each in objectives if each and each.met is False]
    failed = sum(check.status is Status.FAILED for check in record.checks)
    skipped = sum(check.status is Status.SKIPPED for check in record.checks)
    if missed:
        return _("Outside our objectives ({names})").format(names=", ".join(missed))
    if any(each is None or each.met is None for each in objectives):
        return _("Not known to be inside our objectives")
    if record.verdict == Verdict.PASS:
        return _("Inside our objectives")
    if record.verdict == Verdict.PARTIAL:
        return _("In time, but only partly proven (checks skipped: {count})").format(
            count=words.number(skipped)
        )
    if failed:
        return _("In time, but not proven (checks failed: {count})").format(count=words.number(failed))
    return _("In time, but not proven")


def _back(record: DrillRecord, words: Words) -> str:
    _ = words._
    if record.service_seconds is None:
        return _("when the service was back is not known")
    return _("the service was back after {duration}").format(duration=words.duration(record.service_seconds))


def _rows(record: DrillRecord, words: Words) -> str:
    _ = words._
    if record.rows is None:
        return _("how many rows were lost is not known")
    if not record.rows.lost:
        return _("no committed row was lost")
    numbers = {
        "lost": words.number(record.rows.lost),
        "committed": words.number(record.rows.committed),
        "missing": words.number(record.rows.missing),
    }
    if record.rows.missing:
        return _(
            "{lost} of {committed} committed rows were lost, {missing} of which should have come back"
        ).format(**numbers)
    return _("{lost} of {committed} committed rows were lost").format(**numbers)
