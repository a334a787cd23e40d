"""Slack: by bot token, an incident in a thread of its own; or by a webhook, one message after the other.

The bot needs ``chat:write``. With ``channels:history`` (``groups:history`` in a private channel) a message
whose answer was lost is found again instead of being sent twice; ``channels:read`` is needed for that only
where the channel is given by name.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pra.errors import PraError
from pra.settings import Alerts
from pra.watch.senders.letter import Letter, Mark, Refused

if TYPE_CHECKING:
    from slack_sdk import WebClient

_CALL_SECONDS = 10
# Slack refuses longer texts: 150 characters in a header, 2000 in a field, 3000 in a section.
_HEADER, _FIELD, _SECTION = 140, 1900, 2900
_EVENT = "pra_notice"
_PAGES = 5
_log = logging.getLogger(__name__)


def post_message(alerts: Alerts, letter: Letter, mark: Mark, deadline: float) -> tuple[str, ...]:
    """Post a message, below ``mark.thread`` where there is one. Returns where it stands: channel and time.

    Raises:
        PraError: No channel is configured. Refused: Slack asked for more patience than ``deadline`` leaves.
        SlackApiError, URLError: It refused, or cannot be reached.
    """
    client = _client(alerts)
    if not alerts.slack_channel:
        raise PraError("no channel is configured", hint="Set alerts.slack_channel in pra.toml.")
    if mark.tried and (found := _find(client, alerts.slack_channel, mark)):
        return found
    channel = mark.thread[0] if mark.thread else alerts.slack_channel
    said: dict[str, Any] = {"thread_ts": mark.thread[1]} if mark.thread else {}
    if mark.id:
        said["metadata"] = {"event_type": _EVENT, "event_payload": {"id": mark.id}}
    answer = _patiently(
        lambda: client.chat_postMessage(
            channel=channel, text=letter.summary, blocks=blocks(letter), unfurl_links=False, **said
        ),
        deadline,
    )
    where, moment = answer.get("channel"), answer.get("ts")
    return mark.thread or ((str(where), str(moment)) if where and moment else ())


def post_webhook(alerts: Alerts, letter: Letter, deadline: float) -> None:
    """Post to the webhook. Raises Refused for any answer but 200."""
    from slack_sdk.webhook import WebhookClient

    assert alerts.slack_webhook is not None
    url = alerts.slack_webhook.get_secret_value()
    client = WebhookClient(url, timeout=_CALL_SECONDS, retry_handlers=[])
    while True:
        answer = client.send(text=letter.summary, blocks=blocks(letter))
        if answer.status_code == 200:
            return
        if answer.status_code != 429:
            raise Refused(f"status {answer.status_code}: {answer.body[:100]}")
        _wait(answer.headers, deadline)


def refusal(error: Exception) -> str:
    """Slack's own word for why it refused; empty where the error holds none."""
    answer = getattr(error, "response", None)
    if answer is None or not hasattr(answer, "get"):
        return ""
    status = getattr(answer, "status_code", 200)
    if status != 200:
        return f"status {status}"
    try:
        code = answer.get("error")
    except (ValueError, TypeError, AttributeError):
        return ""  # not JSON at all
    return f"refused: {code}" if code else ""


def _client(alerts: Alerts) -> WebClient:
    from slack_sdk import WebClient  # half a second, which no command without an alert should cost

    assert alerts.slack_token is not None
    token = alerts.slack_token.get_secret_value()
    # Without its own retries: of a message whose answer was lost, the next pass asks first.
    if alerts.slack_base_url:
        base = alerts.slack_base_url.rstrip("/") + "/"
        return WebClient(token, timeout=_CALL_SECONDS, base_url=base, retry_handlers=[])
    return WebClient(token, timeout=_CALL_SECONDS, retry_handlers=[])


def _patiently(call: Callable[[], Any], deadline: float) -> Any:
    """Honour ``Retry-After`` as long as there is time."""
    from slack_sdk.errors import SlackApiError

    while True:
        try:
            return call()
        except SlackApiError as error:
            if getattr(error.response, "status_code", 0) != 429:
                raise
            _wait(error.response.headers, deadline)


def _wait(headers: Mapping[str, Any], deadline: float) -> None:
    given = next((value for name, value in headers.items() if name.lower() == "retry-after"), "1")
    text = str(given[0] if isinstance(given, list) else given)
    seconds = float(text) if re.fullmatch(r"\d{1,6}(\.\d+)?", text) else 1.0
    if time.monotonic() + seconds >= deadline:
        raise Refused(f"it asks to be left alone for {seconds:g} s", wait=seconds)
    time.sleep(seconds)


def _find(client: WebClient, channel: str, mark: Mark) -> tuple[str, ...]:
    """Where the message stands already; empty where it does not, or Slack does not let us look."""
    from slack_sdk.errors import SlackApiError

    try:
        if mark.thread:
            place, start = mark.thread
            answer = client.conversations_replies(
                channel=place, ts=start, include_all_metadata=True, limit=200
            )
        else:
            place = _channel_id(client, channel)
            answer = client.conversations_history(channel=place, include_all_metadata=True, limit=200)
    except SlackApiError as error:
        _log.warning("Slack does not say whether it has the message (%s): sent again", refusal(error))
        return ()
    for message in answer.get("messages") or []:
        payload = (message.get("metadata") or {}).get("event_payload") or {}
        if payload.get("id") == mark.id:
            return mark.thread or (place, str(message["ts"]))
    return ()


def _channel_id(client: WebClient, channel: str) -> str:
    if re.fullmatch(r"[CGD][A-Z0-9]{7,}", channel):
        return channel
    name, cursor = channel.lstrip("#"), ""
    for _page in range(_PAGES):
        answer = client.conversations_list(
            types="public_channel,private_channel", exclude_archived=True, limit=999, cursor=cursor
        )
        for item in answer.get("channels") or []:
            if item.get("name") == name:
                return str(item["id"])
        cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
        if not cursor:
            break
    return channel


def blocks(letter: Letter) -> list[dict[str, Any]]:
    """The message in Slack's Block Kit."""
    title = f"{letter.sign} {letter.title}"[:_HEADER]
    found: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": True}}
    ]
    fields = [_mrkdwn(f"*{k}*\n{_escape(v)}"[:_FIELD]) for k, v in letter.fields if v]
    if fields:
        found.append({"type": "section", "fields": fields[:10]})
    for heading, text in letter.sections:
        if text:
            found.append({"type": "section", "text": _mrkdwn(f"*{heading}*\n{_escape(text)}"[:_SECTION])})
    if letter.link:
        label, url = letter.link
        found.append({"type": "section", "text": _mrkdwn(f"<{_escape(url)}|{label}>")})
    found.append({"type": "context", "elements": [_mrkdwn(letter.foot)]})
    return found


def _mrkdwn(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
