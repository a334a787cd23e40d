"""Contacts by e-mail, SMS or whatever else an Apprise URL reaches: one URL, one message.

None of these can be asked whether it has a message already. A mail carries ``X-PRA-Notice``, the same for
every try, so that a filter may drop a second copy; ``References`` keeps an incident's mails together.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from pra.watch.senders.letter import Letter, Mark, Refused

_SHORT = 1000
"""A service that takes no more than this in a message, such as SMS, gets the one line."""


def tell(url: str, letter: Letter, mark: Mark) -> None:
    """Send to one Apprise URL, which is a secret.

    Raises:
        Refused: It is no such URL, or its server did not take the message.
    """
    from apprise import Apprise, NotifyFormat  # a tenth of a second, as for slack-sdk

    # What Apprise writes to its log may hold the URL.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    service: Any = Apprise.instantiate(url)
    if service is None:
        raise Refused("it is not an Apprise URL")
    kind = url.split("://", 1)[0][:20]
    headers = getattr(service, "headers", None)
    if isinstance(headers, dict) and mark.id:
        headers["X-PRA-Notice"] = _digest(mark.id)
        if kind in ("mailto", "mailtos"):
            headers["References"] = f"<{_digest(mark.subject)}@pra.invalid>"
    if "format=" not in url:
        service.notify_format = NotifyFormat.TEXT  # as HTML, a mail's lines run together
    short = getattr(service, "body_maxlen", 32768) < _SHORT
    sent = service.notify(
        title="" if short else letter.title,
        body=letter.summary if short else letter.text,
        body_format=NotifyFormat.TEXT,
    )
    if not sent:
        raise Refused(f"its {kind} server did not take the message")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
