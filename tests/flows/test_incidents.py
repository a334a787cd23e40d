"""One incident from its first message to its last, through real channels, with kills in between."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from deployments.cli.app import run
from pra.errors import RestoreError
from pra.watch import alerts, senders
from pra.watch.senders.letter import Letter, Mark
from pra.watch.status.finding import Finding, Level
from tests.fix_channels import Hook, Mailbox
from tests.fix_incidents import DOWN, START, UP, Watched
from tests.fix_slack import CHANNEL_ID, TOKEN, Slack

TOLD = {
    "en": {
        "slack": ["New incident", "Nobody has taken it yet", "Taken", "All clear"],
        "mail": ["New incident", "Taken", "All clear"],
        "hook": ["Nobody has taken it yet", "Taken", "All clear"],
        "words": ("What is broken", "The RTO of 30 min 00 s", "Section of the runbook"),
    },
    "fr": {
        "slack": [
            "Nouvel incident",
            "Personne ne l’a encore pris en charge",
            "Pris en charge",
            "Fin d’alerte",
        ],
        "mail": ["Nouvel incident", "Pris en charge", "Fin d’alerte"],
        "hook": ["Personne ne l’a encore pris en charge", "Pris en charge", "Fin d’alerte"],
        "words": ("Ce qui est en panne", "Le RTO de 30 min 00 s", "Section du runbook"),
    },
}


def titles(kinds: object) -> list[str]:
    assert isinstance(kinds, list)
    return [f"P1 · {kind}: akig database" for kind in kinds]


def headers(slack: Slack) -> list[str]:
    """Without their sign."""
    return [post.header.split(" ", 1)[1] for post in slack.posts]


@pytest.mark.parametrize("language", ["en", "fr"])
def test_an_outage_is_told_once_each_and_in_order(watched: Watched, language: str) -> None:
    """Every pass is a process of its own, so that whatever is not stored is lost between two of them."""
    watched.language = language
    watched.look(-5, UP)
    watched.look(0, DOWN)
    assert watched.slack.posts == [], "a blink is no incident"
    watched.look(5, DOWN)
    watched.look(7, DOWN)
    watched.look(10, DOWN)
    watched.ack(12, "awa")
    watched.ack(12.5, "another")
    for minutes in (15, 20, 25):
        watched.look(minutes, DOWN)
    for minutes in (30, 35, 40, 45):
        watched.look(minutes, UP)

    told = TOLD[language]
    assert headers(watched.slack) == titles(told["slack"])
    assert watched.mailbox.subjects == titles(told["mail"])
    assert watched.hook.titles == titles(told["hook"])
    first, *rest = watched.slack.posts
    assert "thread_ts" not in first.body
    assert {(post.body["channel"], post.body["thread_ts"]) for post in rest} == {(CHANNEL_ID, first.ts)}
    (incident,) = watched.book.incidents
    for words in (*told["words"], DOWN.message, DOWN.hint, "2026-11-26 08:00 UTC", f"pra ack {incident.id}"):
        assert words in first.text.replace("\\n", "\n")
        assert words in watched.mailbox.texts[0]
        assert words in watched.hook.posts[0]["message"]
    assert "https://wiki.example.com/runbook#database-down" in first.text
    assert "30 min 00 s" in watched.slack.posts[-1].text, "from the first bad look to the first good one"
    assert "awa" in watched.slack.posts[2].text


@pytest.mark.parametrize("silence", ["lose", "keep"])
@pytest.mark.parametrize("moment", ["opening", "end"])
def test_a_kill_while_a_message_is_sent_neither_loses_nor_doubles_it(
    watched: Watched, silence: str, moment: str
) -> None:
    """Slack took the message, or did not; who was to hear the answer is dead."""
    slack = watched.slack
    watched.look(0, DOWN)
    passes = [(5, DOWN), (30, UP), (35, UP), (40, UP)]
    for minutes, found in passes:
        if minutes == (5 if moment == "opening" else 40):
            slack.silence, slack.mute = silence, None
            slack.arrived.clear()
            watched.killed(minutes, [found], lambda: slack.arrived.wait(30))
            slack.silence = ""
            watched.look(minutes + 0.2, found)
        else:
            watched.look(minutes, found)
    assert headers(slack) == titles(["New incident", "All clear"])
    assert slack.posts[1].body["thread_ts"] == slack.posts[0].ts
    assert watched.mailbox.subjects == titles(["New incident", "All clear"])


def test_a_kill_before_anything_is_sent_loses_nothing(watched: Watched) -> None:
    watched.look(0, DOWN)
    near = watched.home / "near" / "_status" / "incidents.json"
    watched.slack.mute = threading.Event()

    def stored() -> None:
        while not near.exists():
            os.sched_yield()

    watched.killed(5, [DOWN], stored)
    watched.slack.posts.clear()
    watched.slack.mute = None
    watched.look(6, DOWN)
    assert headers(watched.slack)[-1:] == titles(["New incident"])
    assert watched.mailbox.subjects == titles(["New incident"])


def test_two_hosts_tell_of_one_incident(watched: Watched) -> None:
    other = replace(watched, host="two")
    for minutes in (0, 5, 6):
        watched.look(minutes, DOWN)
        other.look(minutes + 0.5, DOWN)
    other.ack(7, "awa")
    for minutes in (10, 15, 21, 26):
        watched.look(minutes, UP)
        other.look(minutes + 0.5, UP)
    assert headers(watched.slack) == titles(["New incident", "Taken", "All clear"])
    assert watched.mailbox.subjects == titles(["New incident", "Taken", "All clear"])


def test_with_the_repository_away_this_host_goes_on_and_merges_later(watched: Watched) -> None:
    near, away = watched.home / "near", watched.home / "away"
    watched.look(0, DOWN)
    near.rename(away)
    watched.look(5, DOWN)
    watched.look(10, DOWN)
    assert headers(watched.slack) == titles(["New incident", "Nobody has taken it yet"])
    away.rename(near)
    watched.look(15, DOWN)
    assert b"does not answer" in (near / "_status" / "incidents.json").read_bytes()
    assert len(watched.slack.posts) == 2


# -- a channel that fails ------------------------------------------------------------------------

REFUSALS: dict[str, tuple[tuple[int, dict[str, Any] | str], str]] = {
    "500": ((500, "broken"), "status 500"),
    "wrong token": ((200, {"ok": False, "error": "invalid_auth"}), "invalid_auth"),
    "no such channel": ((200, {"ok": False, "error": "channel_not_found"}), "channel_not_found"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_channel_that_fails_is_told_by_the_others_and_gets_its_messages_later(
    watched: Watched, name: str
) -> None:
    watched.slack.answer, complaint = REFUSALS[name]
    watched.look(0, DOWN)
    watched.look(5, DOWN)
    assert watched.mailbox.subjects == ["P1 · New incident: akig database", "P2 · New incident: alerts slack"]
    assert complaint in watched.mailbox.texts[1]
    watched.look(6, DOWN)
    assert len(watched.mailbox.mails) == 2, "once"
    watched.slack.posts.clear()
    watched.slack.answer = (200, {"ok": True})
    watched.look(9, DOWN)
    assert headers(watched.slack) == titles(["New incident"])
    assert watched.mailbox.subjects[2:] == ["P2 · All clear: alerts slack"]
    for said in (watched.slack.posts[0].text, *watched.mailbox.texts):
        assert TOKEN not in said


def test_a_mail_server_that_fails_is_told_in_slack(watched: Watched) -> None:
    watched.mailbox.closed = True
    watched.look(0, DOWN)
    watched.look(5, DOWN)
    assert headers(watched.slack) == [*titles(["New incident"]), "P2 · New incident: alerts tier1-1"]
    assert "mailto server did not take the message" in watched.slack.posts[1].text


def test_slack_that_asks_for_a_moment_gets_it(slack: Slack) -> None:
    slack.patience = (2, 1)
    assert senders.deliver(LETTER, "slack", slack.settings(), Mark()).problem == ""
    assert len(slack.posts) == 1


def test_slack_that_asks_for_longer_than_there_is_is_left_alone(slack: Slack) -> None:
    slack.patience = (1, 3000)
    outcome = senders.deliver(LETTER, "slack", slack.settings(), Mark())
    assert "left alone for 3000 s" in outcome.problem
    assert outcome.wait == 3000


def test_a_silent_channel_costs_its_limit_and_no_more(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(senders, "CHANNEL_SECONDS", 2.0)
    watched.slack.mute = threading.Event()
    error = RestoreError("2 tables differ", op="check")
    problems = alerts.notify_failure(watched.settings, error, what="verify", target="akig")
    assert problems == ["slack did not take the alert: no answer within 2 s"]
    assert watched.mailbox.subjects == ["P1 · New incident: akig verify", "P2 · New incident: alerts slack"]


def test_an_address_that_is_none_is_named_without_being_shown(watched: Watched, hook: Hook) -> None:
    settings = watched.settings.alerts.model_copy(update={"tier1": secret("nosuch://hidden-part")})
    outcome = senders.deliver(LETTER, "tier1-1", settings, Mark())
    assert outcome.problem == "it is not an Apprise URL"


# -- procedures ----------------------------------------------------------------------------------


def test_a_failed_restore_test_is_over_with_the_next_pass(watched: Watched, mailbox: Mailbox) -> None:
    error = RestoreError("2 tables differ", op="check", hint="See the evidence.")
    moment = START + timedelta(minutes=1)
    for _ in range(2):
        assert (
            alerts.notify_failure(watched.settings, error, what="verify", target="akig", clock=lambda: moment)
            == []
        )
    failed = Finding("proof.near", "akig", Level.CRITICAL, "the last verification was a FAIL", 240, "s")
    watched.look(5, UP, failed)
    watched.look(20, UP, Finding("proof.near", "akig", Level.OK, "last PASS is 15 min old", 60, "s"))
    assert headers(watched.slack) == ["P1 · New incident: akig verify", "P1 · All clear: akig verify"]
    assert mailbox.subjects == headers(watched.slack)
    assert "2 tables differ" in watched.slack.posts[0].text


def test_a_failed_backup_is_not_over_because_the_one_before_it_is_young(watched: Watched) -> None:
    error = RestoreError("pg_dump exited with 1", op="dump database")
    moment = START + timedelta(minutes=1)
    alerts.notify_failure(watched.settings, error, what="backup", target="akig", clock=lambda: moment)
    watched.look(5, UP, Finding("backup.near", "akig", Level.OK, "newest backup is 50 min old", 3000, "s"))
    assert len(watched.slack.posts) == 1
    watched.look(65, UP, Finding("backup.near", "akig", Level.OK, "newest backup is 4 min old", 240, "s"))
    assert headers(watched.slack) == ["P2 · New incident: akig backup", "P2 · All clear: akig backup"]


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def command(watched: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    for name, value in {**watched.environment, "PRA_CONFIG": str(watched.config)}.items():
        monkeypatch.setenv(name, value)
    return Command(capsys)


class Command:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str]:
        self._capsys.readouterr()
        code = run(["ack", *words])
        captured = self._capsys.readouterr()
        return code, captured.out + captured.err


def test_ack_takes_the_only_one_and_says_who_has_it(watched: Watched, command: Command) -> None:
    alerts.notify_failure(watched.settings, RestoreError("gone"), what="verify", target="akig")
    code, said = command("--by", "awa")
    assert code == 0
    assert "taken by awa" in said
    assert headers(watched.slack) == ["P1 · New incident: akig verify", "P1 · Taken: akig verify"]


def test_ack_asks_which_one_of_several(watched: Watched, command: Command) -> None:
    for what in ("verify", "backup"):
        alerts.notify_failure(watched.settings, RestoreError("gone"), what=what, target="akig")
    code, said = command()
    assert code == 64
    assert "several incidents are open" in said
    assert "akig-proof" in said
    assert command("akig/proof")[0] == 0
    assert command("nothing-like-it")[0] == 64
    code, said = command("--list", "--json")
    assert code == 0
    assert '"schema": "pra/incidents/1"' in said
    assert said.count('"taken_at": null') == 1


def test_ack_with_nothing_open_says_so(command: Command) -> None:
    assert command() == (0, "No incident is open.\n")


def secret(text: str) -> object:
    from pydantic import SecretStr

    return SecretStr(text)


LETTER = Letter("", "title", "summary", (), (), None, START)
