"""The only sender of alerts. A channel that fails is reported, and never hides what the alert is about.

Both doors hand in events: the flows' hooks, and the command line. What is sent has been redacted, and is in
the operators' language; the error's own words stay English, so that they can be searched for. A failed
backup, verification, drill or scrub opens an incident (`pra.watch.telling`), which the next success closes;
any other event is one message.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pra.errors import PraError
from pra.messages import Translate, mark, translator
from pra.redact import redact
from pra.settings import Alerts, Settings
from pra.timing import Clock, utc_now
from pra.watch import backup_log, senders, telling
from pra.watch.incident_model import Fact, Priority
from pra.watch.incidents import Failure
from pra.watch.judge import key_of
from pra.watch.routing import Policy
from pra.watch.senders.letter import Letter, Mark

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
_RULES = {
    "backup": "backup",
    "verify": "proof",
    "restore-verify": "proof",
    "drill": "drill",
    "dr-drill": "drill",
    "scrub": "scrub",
}
"""Procedures whose failure is an incident, by the rule that says what it means."""
_PRIORITIES = {"backup": Priority.P2}
"""Of what failed critically: a backup has its age watched as well; all others page."""


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
    level = "CRITICAL" if severity is Severity.CRITICAL else "WARNING"
    backup_log.write(settings, level, target, what, f"{step}: {message}" if step else message)
    alert = Alert(severity, what, target, step, message, hint, link, clock())
    if what in _RULES and target in settings.targets:
        try:
            return telling.after_failure(settings, _failure(alert, settings.alerts), clock=clock)
        except (PraError, OSError) as problem:
            logger.error("the incident cannot be remembered: %s", getattr(problem, "message", "disk"))
    return send(alert, settings.alerts, translator(settings.language))


def _failure(alert: Alert, alerts: Alerts) -> Failure:
    rule = _RULES[alert.what]
    critical = _PRIORITIES.get(alert.what, Priority.P1)
    priority = critical if alert.severity is Severity.CRITICAL else Priority.P3
    said = [redact(text, alerts.secrets) for text in (alert.error, alert.hint, alert.step)]
    fact = Fact(alert.what, said[0], said[1], said[2], alert.link)
    return Failure(key_of(alert.target, rule, ""), alert.target, rule, priority, fact)


def explain(error: BaseException) -> tuple[str, str, str]:
    """Step, fact and hint of an error. The text of an error that is not ours may hold anything: not shown."""
    if isinstance(error, PraError):
        return error.op, error.message, error.hint
    return "", f"unexpected {type(error).__name__}", ""


def send(alert: Alert, alerts: Alerts, translate: Translate) -> list[str]:
    """Hand an alert to Slack; where that is not configured, to the first contact there is.

    Returns:
        One line for each channel that did not take it, also logged; empty when all did, or none is
        configured.
    """
    policy = Policy.of(alerts)
    letter = letter_of(alert, translate)
    problems = []
    for channel in policy.standing or policy.channels[:1]:
        outcome = senders.deliver(letter, channel, alerts, Mark())
        if outcome.problem:
            problems.append(f"{channel} did not take the alert: {outcome.problem}")
    return problems


def try_channels(alerts: Alerts, translate: Translate, clock: Clock = utc_now) -> list[tuple[str, str]]:
    """Send a message that says that it is a test to every channel there is, contacts included.

    Returns:
        Each channel, with why it did not take the message; empty where it did.
    """
    _ = translate
    text = _("This is a test. Nothing is wrong, and there is nothing to do.")
    alert = Alert(Severity.INFO, "test", "PRA", "", text, "", alerts.link or "", clock())
    letter = letter_of(alert, translate)
    channels = Policy.of(alerts).channels
    return [(name, senders.deliver(letter, name, alerts, Mark()).problem) for name in channels]


def letter_of(alert: Alert, translate: Translate) -> Letter:
    """An event as a message."""
    _ = translate
    title = f"{translate(_TITLES[alert.severity])}: {alert.what} {alert.target}"
    summary = title
    if alert.error:
        summary = _("{what} of {target}: {error}").format(
            what=alert.what, target=alert.target, error=alert.error
        )
    return Letter(
        _SIGNS[alert.severity],
        title,
        summary,
        ((_("What"), alert.what), (_("Target"), alert.target), (_("Failed step"), alert.step)),
        ((_("Error"), alert.error), (_("What to do"), alert.hint)),
        (_("Open the run"), alert.link) if alert.link else None,
        alert.at,
    )
