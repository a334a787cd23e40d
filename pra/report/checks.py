"""Every check: what failed and what did not run first, what was ruled out beforehand folded away."""

from __future__ import annotations

from collections.abc import Sequence

from pra.model import CheckResult, Status
from pra.report.blocks import Block, Cell, Folded, Sentence, Table, Tone
from pra.report.circumstances import left_out
from pra.report.recorded import Recorded
from pra.report.words import Words

_SHOWN = 50
_DETAILS = 10
_WRONG = (Status.FAILED, Status.SKIPPED)
_TONES: dict[Status, Tone] = {
    Status.FAILED: "bad",
    Status.SKIPPED: "unsure",
    Status.PASSED: "good",
    Status.NOT_APPLICABLE: "",
}


def checks(record: Recorded, words: Words) -> tuple[Block, ...]:
    """Bounded, whatever the number of checks; the counts above the tables are of all."""
    _ = words._
    if not record.checks:
        return (Sentence(_("No check ran: nothing is proven."), "bad"),)
    wrong = [check for status in _WRONG for check in record.checks if check.status is status]
    passed = [check for check in record.checks if check.status is Status.PASSED]
    ruled_out = [check for check in record.checks if check.status is Status.NOT_APPLICABLE]
    blocks: list[Block] = [Sentence(_counted(record.checks, words), "bad" if wrong else "good")]
    blocks += _table(wrong, words) + _table(passed, words)
    if ruled_out:
        title = _("Not applicable, ruled out beforehand: {count}").format(count=words.number(len(ruled_out)))
        rows = tuple(
            (Cell(check.name, code=True), _fact(check.reason, words)) for check in ruled_out[:_SHOWN]
        )
        blocks.append(Folded(title, Table((_("Check"), _("Why")), rows)))
        blocks += left_out(len(ruled_out), words, _SHOWN)
    return tuple(blocks)


def _counted(every: Sequence[CheckResult], words: Words) -> str:
    counts = {status.value: words.number(sum(check.status is status for check in every)) for status in Status}
    return words._(
        "{failed} failed, {skipped} skipped, {passed} passed, {not_applicable} not applicable."
    ).format(**counts)


def _table(found: Sequence[CheckResult], words: Words) -> list[Block]:
    if not found:
        return []
    _ = words._
    columns = (_("Check"), _("State"), _("Expected"), _("Observed"), _("Why"))
    return [
        Table(columns, tuple(_row(check, words) for check in found[:_SHOWN])),
        *left_out(len(found), words, _SHOWN),
    ]


def _row(check: CheckResult, words: Words) -> tuple[Cell, ...]:
    why = _why(check)
    return (
        Cell(check.name, code=True),
        Cell(words.name(check.status), _TONES[check.status]),
        _fact(check.expected, words),
        _fact(check.observed, words),
        _fact(why, words) if check.status in _WRONG else Cell(why or "–"),
    )


def _why(check: CheckResult) -> str:
    """The reason, and what differs, in one line."""
    parts = [check.reason] if check.reason and check.reason not in check.details else []
    parts += check.details[:_DETAILS]
    if len(check.details) > _DETAILS:
        parts.append(f"… (+{len(check.details) - _DETAILS})")
    return "; ".join(parts)


def _fact(text: str, words: Words) -> Cell:
    return Cell(text) if text else Cell(words.unknown, "unsure")
