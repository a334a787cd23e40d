"""A dead man's switch: somebody outside expects to be asked, and raises the alarm when nobody does."""

from __future__ import annotations

import logging

import httpx

from pra.errors import PraError
from pra.settings import Alerts
from pra.watch.status.finding import Level, StatusPass

_SECONDS = 10.0


def beat(alerts: Alerts, done: StatusPass) -> bool:
    """Ask the heartbeat URL, if nothing is critical. The URL is a secret: it never reaches a message.

    Returns:
        Whether it was asked.

    Raises:
        PraError: It did not answer with 2xx.
    """
    if alerts.heartbeat is None or done.level is Level.CRITICAL:
        return False
    logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it writes the URL
    try:
        answer = httpx.get(alerts.heartbeat.get_secret_value(), timeout=_SECONDS, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        fact = f"the heartbeat URL does not answer: {type(error).__name__}"
        raise PraError(fact, op="send heartbeat") from None
    if not answer.is_success:
        raise PraError(f"the heartbeat URL answered {answer.status_code}", op="send heartbeat")
    return True
