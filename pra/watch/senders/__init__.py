"""How one message reaches one channel. Only `pra.watch.alerts` and `pra.watch.telling` send through here.

A channel that does not take a message says why, without secrets; it never raises and never takes longer than
its limit.
"""

from __future__ import annotations

import logging
import time
import urllib.error

from pra.errors import PraError
from pra.limited import TimedOut, within
from pra.redact import redact
from pra.settings import Alerts
from pra.watch.outbox import Outcome
from pra.watch.routing import SLACK, WEBHOOK, contact_of
from pra.watch.senders import contacts, slack
from pra.watch.senders.letter import Letter, Mark, Refused

CHANNEL_SECONDS = 15.0
logger = logging.getLogger(__name__)


def deliver(letter: Letter, channel: str, alerts: Alerts, mark: Mark) -> Outcome:
    """Hand a message to a channel, by the names of `pra.watch.routing`."""
    clean = letter.redacted(alerts.secrets)
    deadline = time.monotonic() + CHANNEL_SECONDS
    outcome = _tried(clean, channel, alerts, mark, deadline)
    if outcome.problem:
        problem = redact(outcome.problem, alerts.secrets)
        logger.error("%s did not take the alert: %s", channel, problem)
        return Outcome(problem, outcome.wait)
    return outcome


def _tried(letter: Letter, channel: str, alerts: Alerts, mark: Mark, deadline: float) -> Outcome:
    def call() -> tuple[str, ...]:
        if channel == SLACK:
            return slack.post_message(alerts, letter, mark, deadline)
        if channel == WEBHOOK:
            slack.post_webhook(alerts, letter, deadline)
        else:
            contacts.tell(contact_of(alerts, channel), letter, mark)
        return ()

    try:
        return Outcome(thread=within(CHANNEL_SECONDS, call))
    except Refused as refusal:
        return Outcome(refusal.message, refusal.wait)
    except (PraError, TimedOut) as error:
        return Outcome(str(error))
    except urllib.error.URLError as error:
        return Outcome(f"cannot be reached: {error.reason}")
    except Exception as error:
        # Reported by the caller; an alert that cannot be sent must not end what it is about.
        return Outcome(slack.refusal(error) or type(error).__name__)
