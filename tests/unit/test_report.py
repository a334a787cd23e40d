"""The report's content: the sentence at its top, its round trip through the evidence, its file."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from pra.drill.record import DrillRecord, Rows, record_of
from pra.errors import PraError
from pra.evidence import EvidenceLog
from pra.keys import Keyring, Signer
from pra.model import Verdict
from pra.report import html
from pra.report.compliance import REQUIREMENTS
from pra.report.content import report_of
from pra.report.output import write_report
from pra.report.stamp import Stamp
from pra.report.words import Words, plain
from pra.timing import Objective
from tests.fix_record import make_storage
from tests.fix_report import CHECKS, RECORDS, STAMP, before, failed, interrupted, partial, passed


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_comes_back_from_its_stored_form(name: str) -> None:
    record = RECORDS[name]()
    stored = json.loads(json.dumps(record.as_json()))
    again = record_of(record.kind, stored)
    assert again.as_json() == record.as_json()
    without_facts = (replace(record, facts={}), replace(again, facts={}))
    assert without_facts[0] == without_facts[1]


def test_the_report_made_now_is_the_one_made_from_the_evidence(
    tmp_path: Path, signer: Signer, keyring: Keyring
) -> None:
    record = passed()
    written = EvidenceLog([make_storage(tmp_path)], "akig", signer, keyring).append("drill", record.as_json())
    now = html.render(record, Stamp.of(written), before(), "fr")
    assert now == html.render(record_of(written.kind, written.body), Stamp.of(written), before(), "fr")
    assert written.sha256 in now


BACK = "the service was back after 1 min 45 s"
SENTENCES: tuple[tuple[str, DrillRecord, str], ...] = (
    (
        "all is well",
        passed(rows=Rows(10, 0, 0)),
        f"Inside our objectives: {BACK}, and no committed row was lost.",
    ),
    ("rows lost", passed(), f"Inside our objectives: {BACK}, and 3 of 1,243 committed rows were lost."),
    (
        "out of time",
        passed(rto=Objective("RTO", 60, 105.1), verdict=Verdict.FAIL),
        "Outside our objectives (RTO): ",
    ),
    (
        "in time, a check failed",
        replace(failed(), rpo=Objective("RPO", 3600, 1.0)),
        "In time, but not proven (checks failed: 1): ",
    ),
    ("a check left out", partial(), "In time, but only partly proven (checks skipped: 1): "),
    ("RPO unmeasured", passed(rpo=Objective("RPO", 3600, None)), "Not known to be inside our objectives: "),
    ("no objective at all", passed(rto=None), "Not known to be inside our objectives: "),
    ("interrupted", interrupted(), "The drill was interrupted and proves nothing: "),
    ("nobody counted", passed(rows=None), "how many rows were lost is not known."),
)


@pytest.mark.parametrize(("record", "said"), [s[1:] for s in SENTENCES], ids=[s[0] for s in SENTENCES])
def test_the_sentence_at_the_top_is_never_better_than_the_verdict(record: DrillRecord, said: str) -> None:
    assert said in report_of(record, STAMP, (), "en").headline


@pytest.mark.parametrize(
    ("record", "verdict", "tone"),
    [(passed(), "PASS", "good"), (partial(), "PARTIAL", "unsure"), (failed(), "FAIL", "bad")],
)
def test_the_verdict_has_its_colour(record: DrillRecord, verdict: str, tone: str) -> None:
    report = report_of(record, STAMP, (), "fr")
    assert (report.verdict, report.tone) == (verdict, tone)
    assert report_of(interrupted(), STAMP, (), "fr").verdict == "INTERROMPU"


def test_requirements_name_sections_that_exist_and_claim_nothing() -> None:
    titles = {section.title for section in report_of(passed(), STAMP, (), "en").sections}
    for each in REQUIREMENTS:
        assert set(each.sections) <= titles, each
        assert "comply" not in each.asks
        assert "compliant" not in each.asks


def test_text_from_outside_is_one_bounded_line() -> None:
    assert plain({"a\nb": ["x\x00\x1b[31m\u202ey", 1, None, True]}) == {"a b": ["x [31m y", 1, None, True]}
    assert len(plain("x" * 10_000)) == 600


@pytest.mark.parametrize(
    ("seconds", "english", "french"),
    [
        (0, "0 s", "0 s"),
        (0.42, "0.42 s", "0,42 s"),
        (12.34, "12.3 s", "12,3 s"),
        (245, "4 min 05 s", "4 min 05 s"),
        (270_000, "3 d 03 h", "3 j 03 h"),
        (None, "unknown", "inconnu"),
    ],
)
def test_a_duration_is_said_as_its_language_does(seconds: float | None, english: str, french: str) -> None:
    assert Words("en").duration(seconds) == english
    assert Words("fr").duration(seconds) == french


def test_a_little_is_not_nothing() -> None:
    words = Words("en")
    assert [words.share(value) for value in (0, 0.0003, 0.01, 0.5, 3.69)] == [
        "0%",
        "<1%",
        "1%",
        "50%",
        "369%",
    ]


def test_checks_that_all_passed_are_green_whatever_was_ruled_out() -> None:
    page = html.render(passed(checks=CHECKS), STAMP, (), "en")
    assert '<p class="good">0 failed, 0 skipped, 4 passed, 1 not applicable.</p>' in page


def test_a_written_report_is_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "1042.html"
    write_report(path, "old")
    (path.parent / ".1042.html.new").write_text("left by an attempt that died")
    write_report(path, "née")
    assert path.read_text(encoding="utf-8") == "née"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["1042.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PraError, match=r"1\.html was not written"):
        write_report(tmp_path / "file" / "1.html", "x")
