"""Alerts arrive, in the operators' language, without secrets; and a channel that fails hides nothing."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pra.errors import ConnectError, ToolError
from pra.messages import translator
from pra.settings import Settings, load_settings
from pra.watch import senders
from pra.watch.alerts import Alert, Severity, notify_failure, send
from tests.fix_slack import TOKEN, Slack

ALERT = Alert(
    Severity.CRITICAL,
    what="backup",
    target="akig",
    step="dump database",
    error="pg_dump exited with 1",
    hint="Look at the server's log.",
    link="http://127.0.0.1:4200/runs/flow-run/1",
    at=datetime(2026, 11, 22, 7, 0, tzinfo=UTC),
)


def settings_for(slack: Slack, home: Path, language: str = "en") -> Settings:
    toml = home / "pra.toml"
    toml.write_text(
        f'language = "{language}"\n[alerts]\nslack_channel = "#ops"\nslack_base_url = "{slack.base_url}"\n'
    )
    return load_settings(toml, {"PRA_STATE_DIR": str(home / "state"), "PRA_ALERTS__SLACK_TOKEN": TOKEN})


def kinds(body: dict[str, Any]) -> list[str]:
    return [block["type"] for block in body["blocks"]]


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Failure", "What", "Target", "Failed step", "Error", "What to do", "Open the run")),
        ("fr", ("Échec", "Quoi", "Cible", "Étape en échec", "Erreur", "Que faire", "Ouvrir l’exécution")),
    ],
)
def test_a_failure_says_what_where_why_and_what_to_do(
    slack: Slack, language: str, words: tuple[str, ...]
) -> None:
    assert send(ALERT, slack.settings(), translator(language)) == []
    (post,) = slack.posts
    assert post.path == "/api/chat.postMessage"
    assert post.authorization == f"Bearer {TOKEN}"
    assert post.body["channel"] == "#ops"
    assert post.body["text"], "a phone shows this line"
    assert kinds(post.body) == ["header", "section", "section", "section", "section", "context"]
    facts = ("akig", "dump database", "pg_dump exited with 1", "Look at the server's log.", ALERT.link)
    for word in (*words, *facts):
        assert word in post.text


def test_neither_secrets_nor_values_of_rows_are_sent(slack: Slack) -> None:
    error = "duplicate key\nDETAIL:  Key (email)=(awa@example.com) already exists.\nuse it at postgresql://u:hunter22@h/d"
    hint = f"token {TOKEN}, password = 'opensesame'"
    assert send(replace(ALERT, error=error, hint=hint), slack.settings(), translator("en")) == []
    (post,) = slack.posts
    assert "duplicate key" in post.text
    for secret in ("awa@example.com", "hunter22", "opensesame", TOKEN):
        assert secret not in post.text


def test_markup_in_names_stays_text(slack: Slack) -> None:
    send(replace(ALERT, error="table <!channel> & <http://x|y> differs"), slack.settings(), translator("en"))
    (post,) = slack.posts
    assert "<!channel>" not in str(post.body["blocks"])
    assert "&lt;!channel&gt; &amp;" in str(post.body["blocks"])


def test_a_long_error_is_cut_to_what_slack_takes(slack: Slack) -> None:
    assert send(replace(ALERT, error="x" * 9000), slack.settings(), translator("en")) == []
    (post,) = slack.posts
    assert max(len(block.get("text", {}).get("text", "")) for block in post.body["blocks"]) <= 3000


def test_a_webhook_takes_it_too(slack: Slack) -> None:
    slack.answer = (200, "ok")
    channel = slack.settings(slack_token=None, slack_channel=None, slack_webhook=slack.webhook)
    assert send(ALERT, channel, translator("en")) == []
    (post,) = slack.posts
    assert post.path == "/services/T000/B000/secretpath"


def test_nothing_configured_is_no_problem(slack: Slack) -> None:
    assert send(ALERT, slack.settings(slack_token=None), translator("en")) == []
    assert slack.posts == []


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((200, {"ok": False, "error": "channel_not_found"}), "channel_not_found"),
        ((200, {"ok": False, "error": "invalid_auth"}), "invalid_auth"),
        ((500, "broken"), "slack did not take the alert"),
    ],
)
def test_a_refusal_is_reported_not_raised(
    slack: Slack, caplog: pytest.LogCaptureFixture, answer: Any, complaint: str
) -> None:
    slack.answer = answer
    with caplog.at_level(logging.ERROR):
        (problem,) = send(ALERT, slack.settings(), translator("en"))
    assert complaint in problem
    assert complaint in caplog.text
    assert TOKEN not in problem + caplog.text


def test_a_server_that_is_not_there_is_reported(slack: Slack) -> None:
    gone = slack.settings(slack_base_url="http://127.0.0.1:9/api")
    (problem,) = send(ALERT, gone, translator("en"))
    assert "cannot be reached" in problem


def test_a_webhook_that_fails_does_not_show_its_address(slack: Slack) -> None:
    slack.answer = (403, "invalid_token")
    channel = slack.settings(slack_token=None, slack_channel=None, slack_webhook=slack.webhook)
    (problem,) = send(ALERT, channel, translator("en"))
    assert "status 403" in problem
    assert "secretpath" not in problem


def test_a_token_without_a_channel_names_the_setting(slack: Slack) -> None:
    (problem,) = send(ALERT, slack.settings(slack_channel=None), translator("en"))
    assert "alerts.slack_channel" in problem


def test_a_silent_server_costs_no_more_than_the_limit(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "CHANNEL_SECONDS", 0.5)
    slack.mute = threading.Event()
    start = time.monotonic()
    (problem,) = send(ALERT, slack.settings(), translator("en"))
    assert time.monotonic() - start < 5
    assert "no answer within" in problem


def test_an_error_of_ours_is_sent_with_its_hint(slack: Slack, tmp_path: Path) -> None:
    error = ConnectError("the server does not answer", op="connect", hint="Start it.")
    settings = settings_for(slack, tmp_path, "fr")
    assert notify_failure(settings, error, what="verify", target="akig") == []
    (post,) = slack.posts
    for fact in ("verify", "akig", "connect", "the server does not answer", "Start it.", "Échec"):
        assert fact in post.text


def test_the_text_of_a_foreign_error_is_not_sent(slack: Slack, tmp_path: Path) -> None:
    """It was not written with secrets and rows in mind."""
    settings = settings_for(slack, tmp_path)
    assert notify_failure(settings, ValueError("awa@example.com"), what="backup", target="akig") == []
    (post,) = slack.posts
    assert "unexpected ValueError" in post.text
    assert "awa@example.com" not in post.text


def test_a_tool_error_is_sent_without_its_stderr(slack: Slack, tmp_path: Path) -> None:
    error = ToolError("pg_dump exited with 1", stderr="row: awa@example.com", op="dump database")
    notify_failure(settings_for(slack, tmp_path), error, what="backup", target="akig")
    (post,) = slack.posts
    assert "awa@example.com" not in post.text
