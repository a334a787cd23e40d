"""The Markdown page: the same sections as the HTML one, tables that hold, no markup from outside."""

from __future__ import annotations

import re

import pytest

from pra.report.content import report_of
from pra.report.markdown import render, text
from tests.fix_report import RECORDS, STAMP, before, crowded, failed, hostile, passed


def tables(page: str) -> list[list[str]]:
    """Runs of lines that begin with a bar."""
    return [run.splitlines() for run in re.findall(r"(?:^\|.*\n?)+", page, re.M)]


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def test_the_verdict_and_one_sentence_come_first() -> None:
    first, sentence, *_ = render(failed(), STAMP, (), "en").split("\n\n")
    assert first == "# FAIL"
    assert sentence.startswith("**Outside our objectives (RPO): the service was back after 1 min 45 s")


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_it_has_the_sections_of_the_report_and_whole_tables(name: str, language: str) -> None:
    record = RECORDS[name]()
    page = render(record, STAMP, before(), language)
    titles = [text(section.title) for section in report_of(record, STAMP, before(), language).sections]
    assert re.findall(r"^## (.*)$", page, re.M) == titles
    for table in tables(page):
        assert len({cells(line) for line in table}) == 1, table


def test_no_text_from_outside_becomes_markup() -> None:
    page = render(hostile(), STAMP, (), "en")
    outside_code = re.sub(r"`[^`\n]*`", "", page.replace("\\`", ""))
    assert not re.search(r"(?<!\\)<", outside_code)
    assert "](" not in outside_code.replace("\\]", "")
    assert "http://" not in page
    assert not re.search(r"^# \\?\*y", page, re.M)


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        ("- x", "\\- x"),
        ("1. x", "1\\. x"),
        ("1.20 s", "1.20 s"),
        ("+8.2 s", "+8.2 s"),
        ("---", "\\---"),
        ("# x", "\\# x"),
        ("a|b", "a\\|b"),
        ("two\nlines", "two lines"),
        ("see https://x.example", "see https\\://x.example"),
        ("www.x.example", "www\\.x.example"),
        ("a@b.example", "a\\@b.example"),
        ("&lt;", "\\&lt;"),
    ],
)
def test_plain_text_stays_plain(plain: str, escaped: str) -> None:
    assert text(plain) == escaped


def test_the_picture_is_a_table_with_bars() -> None:
    page = render(passed(), STAMP, (), "en")
    rows = [line for line in page.splitlines() if "█" in line or "▒" in line]
    assert len(rows) == 1 + len(passed().steps)
    assert "| approve | +8.20 s | 31.0 s | waiting for a person | `···▒▒▒▒▒" in page


def test_a_crowd_stays_bounded() -> None:
    assert len(render(crowded(), STAMP, before(300), "en")) < 60_000
