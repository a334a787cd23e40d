"""The only sender of alerts. A channel that fails is reported, and never hides what the alert is about.

Both doors hand in events: the flows' hooks, and the command line. What is sent has been redacted, and is in
the operators' language; the error's own words stay English, so that they can be searched for.
"""

from __future__ import annotations

import logging
import threading
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from pra.errors import PraError
from pra.messages import Translate, mark, translator
from pra.redact import redact
from pra.settings import Alerts, Settings
from pra.timing import Clock, to_iso, utc_now

_CALL_SECONDS = 10
_CHANNEL_SECONDS = 15.0
# Slack refuses longer texts: 150 characters in a header, 2000 in a field, 3000 in a section.
_HEADER, _FIELD, _SECTION = 140, 1900, 2900

logger = logging.getLogger(__name__)


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


_TITLES = {
    Severity.CRITICAL: mark("Failure"),
    Severity.WARNING: mark("Warning"),
    Severity.INFO: mark("Information"),
}
_SIGNS = {
    Severity.CRITICAL: ":red_circle:",
    Severity.WARNING: ":large_orange_circle:",
    Severity.INFO: ":white_circle:",
}


@dataclass(frozen=True)
class Alert:
    """One event for the people on call.

    Attributes:
        what: The procedure, for example ``backup``.
        step: What was being tried when it failed.
        error: One lowercase fact. hint: What to do.
        link: Where to look further; empty when there is no such page.
    """

    severity: Severity
    what: str
    target: str
    step: str
    error: str
    hint: str
    link: str
    at: datetime


def notify_failure(
    settings: Settings,
    error: BaseException,
    *,
    what: str,
    target: str,
    link: str = "",
    severity: Severity = Severity.CRITICAL,
    clock: Clock = utc_now,
) -> list[str]:
    """Tell the people on call that a procedure failed. Never raises; returns what `send` returns."""
    step, message, hint = explain(error)
    alert = Alert(severity, what, target, step, message, hint, link, clock())
    return send(alert, settings.alerts, translator(settings.language))


def explain(error: BaseException) -> tuple[str, str, str]:
    """Step, fact and hint of an error. The text of an error that is not ours may hold anything: not shown."""
    if isinstance(error, PraError):
        return error.op, error.message, error.hint
    return "", f"unexpected {type(error).__name__}", ""


def send(alert: Alert, alerts: Alerts, translate: Translate) -> list[str]:
    """Hand an alert to every configured channel.

    Returns:
        One line for each channel that did not take it, also logged; empty when all did, or none is
        configured.
    """
    clean = _redacted(alert, alerts)
    text, blocks = summary(clean, translate), slack_blocks(clean, translate)
    problems = []
    for channel, deliver in _channels(alerts):
        problem = _within_limit(lambda deliver=deliver: deliver(text, blocks))  # type: ignore[misc]
        if problem:
            problems.append(redact(f"{channel} did not take the alert: {problem}", _secrets(alerts)))
            logger.error("%s", problems[-1])
    return problems


Deliver = Callable[[str, list[dict[str, Any]]], None]


def _channels(alerts: Alerts) -> list[tuple[str, Deliver]]:
    channels: list[tuple[str, Deliver]] = []
    if alerts.slack_token is not None:
        channels.append(("slack", lambda text, blocks: _post_message(alerts, text, blocks)))
    if alerts.slack_webhook is not None:
        channels.append(("slack webhook", lambda text, blocks: _post_webhook(alerts, text, blocks)))
    return channels


def _post_message(alerts: Alerts, text: str, blocks: list[dict[str, Any]]) -> None:
    from slack_sdk import WebClient  # half a second, which no command without an alert should cost

    assert alerts.slack_token is not None
    if not alerts.slack_channel:
        raise PraError("no channel is configured", hint="Set alerts.slack_channel in pra.toml.")
    token = alerts.slack_token.get_secret_value()
    client = WebClient(token, timeout=_CALL_SECONDS)
    if alerts.slack_base_url:
        client = WebClient(token, timeout=_CALL_SECONDS, base_url=alerts.slack_base_url.rstrip("/") + "/")
    client.chat_postMessage(channel=alerts.slack_channel, text=text, blocks=blocks, unfurl_links=False)


def _post_webhook(alerts: Alerts, text: str, blocks: list[dict[str, Any]]) -> None:
    from slack_sdk.webhook import WebhookClient

    assert alerts.slack_webhook is not None
    client = WebhookClient(alerts.slack_webhook.get_secret_value(), timeout=_CALL_SECONDS)
    answer = client.send(text=text, blocks=blocks)
    if answer.status_code != 200:
        raise PraError(f"status {answer.status_code}: {answer.body[:100]}")


def _within_limit(deliver: Callable[[], None]) -> str:
    """Run a delivery under a limit of its own: a server that trickles bytes defeats a socket's timeout.

    Returns:
        Why it failed; empty when it did not.
    """
    outcome = [f"no answer within {_CHANNEL_SECONDS:g} s"]

    def run() -> None:
        try:
            deliver()
            outcome[0] = ""
        except PraError as error:
            outcome[0] = str(error)
        except urllib.error.URLError as error:
            outcome[0] = f"cannot be reached: {error.reason}"
        except Exception as error:
            # Reported by the caller; an alert that cannot be sent must not end what it is about.
            outcome[0] = _refusal(error) or type(error).__name__

    thread = threading.Thread(target=run, name="alert", daemon=True)
    thread.start()
    thread.join(_CHANNEL_SECONDS)
    return outcome[0]


def _refusal(error: Exception) -> str:
    """Slack's own word for why it refused; empty where the error holds none."""
    answer = getattr(error, "response", None)
    code = answer.get("error") if answer is not None and hasattr(answer, "get") else None
    return f"refused: {code}" if code else ""


def _secrets(alerts: Alerts) -> list[str]:
    return [secret.get_secret_value() for secret in (alerts.slack_token, alerts.slack_webhook) if secret]


def _redacted(alert: Alert, alerts: Alerts) -> Alert:
    secrets = _secrets(alerts)
    return replace(
        alert,
        step=redact(alert.step, secrets),
        error=redact(alert.error, secrets),
        hint=redact(alert.hint, secrets),
    )


def summary(alert: Alert, translate: Translate) -> str:
    """One line: what a phone shows."""
    _ = translate
    what, target, error = alert.what, alert.target, alert.error
    if not error:
        return f"{translate(_TITLES[alert.severity])}: {what} {target}"
    return _("{what} of {target}: {error}").format(what=what, target=target, error=error)


def slack_blocks(alert: Alert, translate: Translate) -> list[dict[str, Any]]:
    """The alert in Slack's Block Kit."""
    _ = translate
    title = f"{_SIGNS[alert.severity]} {translate(_TITLES[alert.severity])}: {alert.what} {alert.target}"
    fields = [(_("What"), alert.what), (_("Target"), alert.target), (_("Failed step"), alert.step)]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title[:_HEADER], "emoji": True}},
        {"type": "section", "fields": [_mrkdwn(f"*{k}*\n{_escape(v)}"[:_FIELD]) for k, v in fields if v]},
    ]
    for heading, text in ((_("Error"), alert.error), (_("What to do"), alert.hint)):
        if text:
            blocks.append({"type": "section", "text": _mrkdwn(f"*{heading}*\n{_escape(text)}"[:_SECTION])})
    if alert.link:
        link = f"<{_escape(alert.link)}|{_('Open the run')}>"
        blocks.append({"type": "section", "text": _mrkdwn(link)})
    blocks.append({"type": "context", "elements": [_mrkdwn(f"PRA · {to_iso(alert.at)[:19]}Z")]})
    return blocks


def _mrkdwn(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
