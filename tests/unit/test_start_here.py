"""The page to start from: what it says, in both languages, and when it is another page."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pra.watch.status.finding import HOST, Finding, Level, StatusPass
from tasks.start_here_page import MOST, Line, Page, Shown, digest, digest_of_addresses, facts_of, render

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
PROOF = Shown("7-8", "PASS: 20261122T070955Z-full-3f9c from near (evidence 7:ab)", NOON)


def passed(*findings: Finding) -> StatusPass:
    return StatusPass(NOON, "host", 1.0, findings)


def finding(target: str, level: Level, name: str = "database") -> Finding:
    return Finding(name, target, level, "it is as it is")


def a_page(**changed: object) -> Page:
    line = Line("akig", Level.CRITICAL, ("backup.near",), PROOF, None, {"backup": "1-2", "failover": "3-4"})
    return replace(Page((line,), host=Line(HOST, Level.OK)), **changed)  # type: ignore[arg-type]


def test_the_worst_come_first_and_a_large_fleet_is_cut() -> None:
    targets = [f"t{number:02}" for number in range(MOST + 5)]
    found = [finding(target, Level.OK) for target in targets]
    done = passed(*found, finding("t20", Level.WARNING, "api"), finding("t07", Level.CRITICAL, "wal.near"))
    lines, host = facts_of(targets, done)
    assert [line.target for line in lines][:3] == ["t07", "t20", "t00"]
    assert (lines[0].level, lines[0].bad) == (Level.CRITICAL, ("wal.near",))
    assert len(lines) == MOST
    assert host == Line(HOST)
    page = render(Page(tuple(lines), more=5), NOON)
    assert "And 5 more that are no worse." in page


def test_before_the_first_pass_it_does_not_claim_to_know() -> None:
    lines, _host = facts_of(["akig"], None)
    assert lines == [Line("akig")]
    assert "not looked at yet" in render(Page(tuple(lines)), NOON)
    assert "run `pra init`" in render(Page(()), NOON)


def test_it_names_what_is_wrong_and_links_what_to_press() -> None:
    page = render(a_page(), NOON)
    row = next(line for line in page.splitlines() if line.startswith("| akig | **CRITICAL**"))
    assert "- akig: `backup.near`" in page
    assert "(/artifacts/artifact/7-8)" in row
    assert "[PASS, " in row
    assert "[Take a backup](/deployments/deployment/1-2/run)" in page
    assert "[Replace a lost server](/deployments/deployment/3-4/run)" in page
    assert "[Rehearse a disaster](" not in page, "a logical target has no drill"
    assert "`pra runbook`" in page
    assert "[Runbook](https://wiki.example.com/pra)" in render(
        a_page(runbook="https://wiki.example.com/pra"), NOON
    )


def test_it_speaks_french() -> None:
    page = render(a_page(language="fr"), NOON)
    assert page.startswith("# Commencez ici")
    assert "[Sauvegarder](/deployments/deployment/1-2/run)" in page
    for english in ("Take a backup", "Last proof", "Where to look", "Is everything well"):
        assert english not in page


@pytest.mark.parametrize(
    ("description", "verdict"),
    [
        ("PASS: a from near; FAIL: b from far: fetch failed", "FAIL"),
        ("PASS: a from near; PARTIAL: b from far: age skipped", "PARTIAL"),
        ("PASS: data-loss (evidence 7:ab)", "PASS"),
        ("aborted: data-loss (evidence 7:ab)", "aborted"),
        ("", "?"),
    ],
)
def test_of_several_verdicts_the_worst_is_shown(description: str, verdict: str) -> None:
    assert Shown("7-8", description, NOON).verdict == verdict


def test_a_pass_that_finds_the_same_makes_the_same_page() -> None:
    """Ages grow from pass to pass; what is wrong, and what was proven, is what counts."""
    one, other = (
        facts_of(
            ["akig"], passed(Finding("backup.near", "akig", Level.WARNING, f"it is {age} old", float(age)))
        )[0]
        for age in (70, 75)
    )
    assert digest(Page(tuple(one))) == digest(Page(tuple(other)))


def test_what_has_something_else_to_say_is_another_page() -> None:
    page = a_page()
    (line,) = page.lines
    others = [
        replace(page, lines=(replace(line, level=Level.WARNING),)),
        replace(page, lines=(replace(line, bad=("backup.far",)),)),
        replace(page, lines=(replace(line, proof=replace(PROOF, at=NOON + timedelta(days=7))),)),
        replace(page, lines=(replace(line, drill=PROOF),)),
        replace(page, host=Line(HOST, Level.WARNING, ("disk.state",))),
        replace(page, language="fr"),
        replace(page, more=1),
    ]
    assert len({digest(each) for each in (page, *others)}) == len(others) + 1
    moved = replace(page, lines=(replace(line, press={"backup": "5-6"}),))
    assert digest(moved) == digest(page)
    assert digest_of_addresses(moved) != digest_of_addresses(page)
