"""What a run shows: what is wrong first, in the reader's language, and never broken by a name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pra.evidence_record import Head
from pra.messages import translator
from pra.model import CheckResult, PublishResult, Status, Verdict
from pra.procedures.backup import BackupReport
from pra.procedures.judging import VerifyReport
from pra.timing import Objective, Phase
from tasks.pages import backup_page, phase_rows, proof_page

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
PHASES = (Phase("restore", AT, 90.0),)


def proof(*checks: CheckResult, verdict: Verdict = Verdict.FAIL) -> VerifyReport:
    objectives = (Objective("RTO", 1800, 90.0), Objective("RPO", 3600, 4000.0), Objective("other", 1, None))
    return VerifyReport(
        verdict,
        "akig",
        "20261122T030000Z-full-0001",
        "local",
        90,
        95,
        4000,
        checks,
        PHASES,
        objectives,
        "e/1",
    )


def test_what_is_wrong_stands_above_the_tables() -> None:
    bad = CheckResult(
        "fingerprint", Status.FAILED, "2 tables", "1 differs", "look", details=("public.users",)
    )
    page = proof_page([proof(CheckResult("rto", Status.PASSED), bad)], translator("en"))
    complaint, _, tables = page.partition("| Objective |")
    for word in ("**fingerprint** failed", "Expected: 2 tables", "Observed: 1 differs", "public.users"):
        assert word in complaint
    assert tables.index("| fingerprint | **failed** |") < tables.index("| rto | passed |")
    assert "| RPO | 1 h 06 min | 1 h 00 min | **no** |" in page
    assert "| other | ? | 1.00 s | ? |" in page


def test_the_head_of_the_evidence_is_shown_as_it_is_typed() -> None:
    shown = replace(proof(CheckResult("rto", Status.PASSED)), head=Head(12, "0123456789abcdef" * 4))
    assert "Evidence head: `12:0123456789abcdef`" in proof_page([shown], translator("en"))
    assert "Evidence head" not in proof_page([proof(CheckResult("rto", Status.PASSED))], translator("en"))


def test_a_name_cannot_break_the_table_or_become_markup() -> None:
    evil = CheckResult("a|b\n<script>*x*`y`", Status.PASSED, "[l](http://x)", "o")
    page = proof_page([proof(evil)], translator("en"))
    row = next(line for line in page.splitlines() if "script" in line)
    assert row.count(" | ") == 4
    assert "<script>" not in row.replace("\\<", "")
    assert "\\*x\\*" in row
    assert "\\[l\\]" in row


def test_it_is_in_french_where_that_is_the_language() -> None:
    failed = PublishResult("far", False, "no space left", "Make room.")
    report = BackupReport(
        "20261122T030000Z-full-0001", "akig", "full", AT, 5_200_000, 61.0, PHASES, (failed,), gaps=("a gap",)
    )
    page = backup_page(report, translator("fr"))
    for words in ("Dépôt", "**en échec**", "no space left", "Make room.", "Lacunes", "5.2 MB", "1 min 01 s"):
        assert words in page


def test_a_phase_has_its_share_of_the_objective() -> None:
    (row,) = phase_rows(PHASES, 1800, translator("en"))
    assert row == {"Phase": "restore", "Seconds": 90.0, "Share of the objective": "5.00%"}
