"""The report of a load test says what was found and what to do, in both languages and both forms."""

from __future__ import annotations

import re

import pytest

from pra.report import html, markdown
from pra.report.loadtest import load_report_of
from pra.report.loadtest_advice import sentences
from pra.report.words import Words
from tests.fix_load_record import before, failing, passing
from tests.fix_report import STAMP


@pytest.mark.parametrize("language", ["en", "fr"])
def test_both_forms_hold_every_section_and_figure(language: str) -> None:
    report = load_report_of(passing(), STAMP, before(), language)
    page, text = html.page(report), markdown.page(report)
    for section in report.sections:
        assert f'id="{section.name}"' in page
        assert f"## {section.title}" in text
    for figure in ("contract-page", "0.42 ms" if language == "en" else "0,42 ms", "PASS"):
        assert figure in page
        assert figure in text or figure in text.replace("\\", "")
    assert page.count("<svg") == 2, "the trend, for a desk and for a telephone"


def test_a_failure_is_said_with_its_remedy() -> None:
    found = sentences(failing(), Words("en"))
    assert found[0] == (
        "invoice-lines-of-contract is slow (135.8 times): the index public.invoice_lines_invoice_id_idx is "
        "missing. Create it anew."
    )
    assert any("Run ANALYZE" in line for line in found)
    assert any("reads public.messages from end to end" in line for line in found)
    assert any("no reason was found" in line for line in found)
    assert any("answers with errors" in line for line in found)
    assert any("integrity was not answered: the server was lost" in line for line in found)


def test_the_headline_is_never_better_than_the_verdict() -> None:
    assert "serves its load as before" in load_report_of(passing(), STAMP, (), "en").headline
    assert "answers slowly: invoice-lines-of-contract" in load_report_of(failing(), STAMP, (), "en").headline


def test_nothing_of_the_page_comes_from_elsewhere() -> None:
    page = html.page(load_report_of(failing(), None, (), "fr"))
    assert not re.search(r"(src|href)=|@import|url\(", page)
    assert "<script" not in page


def test_a_forecast_that_is_near_is_something_to_do() -> None:
    assert any(
        "will no longer hold from 12 Dec 2026 on" in line for line in sentences(passing(), Words("en"))
    )
