"""The HTML page: what a reader must see, nothing from outside as markup, and nothing to fetch."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pra.report.html import render
from tests.fix_report import HOSTILE, RECORDS, STAMP, before, crowded, failed, hostile, interrupted, passed

PROSE = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "header",
    "section",
    "footer",
    "h1",
    "h2",
    "h3",
    "p",
}
BLOCKS = {"ul", "li", "dl", "div", "dt", "dd", "code", "pre", "span", "figure", "details", "summary"}
TABLE = {"table", "thead", "tbody", "tr", "th", "td"}
DRAWN = {"svg", "defs", "pattern", "g", "rect", "line", "circle", "text"}
FETCHING = {"src", "href", "srcset", "action", "data", "poster", "xlink:href", "background"}


class Page(HTMLParser):
    """The page's text, tags and attributes; a tag closed out of turn fails."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="([a-z]+)">', page)


def test_the_verdict_and_one_sentence_come_first() -> None:
    text = Page(render(failed(), STAMP, (), "en")).text
    verdict, sentence = text.index("FAIL"), text.index("Outside our objectives (RPO)")
    assert verdict < sentence < text.index("How it was measured")
    assert (
        "the service was back after 1 min 45 s, and 2,904 of 5,210 committed rows were lost, "
        "2 of which should have come back." in text
    )


def test_everything_that_an_auditor_asks_for_is_there() -> None:
    text = Page(render(failed(), STAMP, before(), "en")).text
    for words in (
        "30 min 00 s",
        "From the kill to the first 200 of /api/health, sampled every 0.2 s.",
        "The service answers, and the newest backup is proven.",
        "the server process was killed and does not restart",
        "20260606T080012Z-full-3f9c in local: the stored bytes are not what was signed",
        "The one that was used was 2 h 00 min old at the disaster; data lost in the end: 2 h 00 min.",
        "941.3 MB",
        "c4" * 32,
        "seen by the duty manager",
        "The backup before the newest one was used.",
        "Find out why the stored bytes changed: local.",
        "Stop the rehearsal.",
        "versions.postgresql 18.1",
        "sealed_logs.0.name postgresql.log",
        "akig/evidence/00001042.json",
        STAMP.sha256,
        STAMP.previous_sha256,
        STAMP.key_id,
        "pra evidence verify",
        "art. 12(2)",
    ):
        assert words in text, words


def test_what_failed_comes_before_what_passed_and_says_why() -> None:
    page = render(failed(), STAMP, (), "en")
    checks = page[page.index('<section id="checks">') : page.index('<section id="rows">')]
    assert checks.index("service.payments") < checks.index("fingerprint") < checks.index("<details>")
    for words in ("200 within 2 s", "500 after 0.1 s", "the application answers with an error"):
        assert words in checks
    assert checks.index("<details>") < checks.index("the extension is not installed")


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_it_needs_nothing_else_and_holds_only_our_tags(name: str, language: str) -> None:
    written = render(RECORDS[name](), STAMP, before(), language)
    page = Page(written)
    assert not page.open
    assert page.tags <= PROSE | BLOCKS | TABLE | DRAWN
    assert not {attribute for attribute, _ in page.attributes} & FETCHING
    assert not [attribute for attribute, _ in page.attributes if attribute.startswith("on")]
    style = re.search(r"<style>(.*?)</style>", written, re.S)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_no_text_from_outside_becomes_markup() -> None:
    page = render(hostile(), STAMP, (hostile(),), "en")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\u202e" not in page
    assert "[z](http://evil.example) &amp;amp;" in page
    assert HOSTILE.split("|")[0] in Page(page).text


def test_what_is_unknown_is_said() -> None:
    text = Page(render(interrupted(), None, (), "en")).text
    for words in (
        "INTERRUPTED",
        "The drill was interrupted and proves nothing",
        "when the service was back is not known",
        "RTO (service back) unknown unknown unknown unknown",
        "No check ran: nothing is proven.",
        "Nobody counted rows: how many were lost is not known.",
        "No backup was used, or none is known.",
        "Not recorded: systems and versions are unknown.",
        "Not recorded: nothing but this page says what happened, and it is no proof.",
        "None came before: this is the first.",
        "The process was killed in: recover.",
    ):
        assert words in text, words
    assert not re.search(r"<d[dt]></d", render(interrupted(), None, (), "en"))
    assert "<div></div>" not in render(interrupted(), None, (), "en")


def test_a_record_that_cannot_be_believed_says_so() -> None:
    page = render(passed(), replace(STAMP, problem="wrong signature"), (), "en")
    assert '<p class="bad">It cannot be believed: wrong signature.</p>' in page


def test_a_crowd_stays_bounded_and_is_counted() -> None:
    page = render(crowded(), STAMP, before(300), "en")
    text = Page(page).text
    assert len(page) < 250_000
    assert "200 failed, 200 skipped, 400 passed, 200 not applicable." in text
    assert "350 more are in the evidence record." in text  # 400 wrong ones, 50 shown
    assert "170 shorter phases are in the evidence record only." in text
    assert page.count("(this one)") == 1
    trend = page[page.index('id="trend"') : page.index('id="systems"')]
    assert trend.count('<tr role="row"><td') == 6


def test_the_languages_have_the_same_sections() -> None:
    english, french = (render(failed(), STAMP, before(), language) for language in ("en", "fr"))
    assert sections(english) == sections(french)
    assert len(sections(english)) == 13
    assert '<html lang="fr">' in french
    text = Page(french).text
    for words in (
        "Hors de nos objectifs (RPO) : le service est revenu après 1 min 45 s",
        "2\u202f904 des 5\u202f210 lignes validées ont été perdues, dont 2 auraient dû revenir.",
        "12,4 s",
        "941,3\u202fMo",
        "6 juin 2026, 09:00:00 UTC",
        "secondes depuis le sinistre",
    ):
        assert words in text, words


def test_an_unknown_language_reads_english() -> None:
    assert '<html lang="en">' in render(passed(), STAMP, (), "xx")
