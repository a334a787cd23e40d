"""A message to people, whatever carries it: what a phone shows, and what a page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pra.errors import PraError
from pra.redact import redact
from pra.timing import to_iso


class Refused(PraError):
    """A channel said no. ``wait``: it asked to be left alone for so many seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Mark:
    """By what a message is known again.

    Attributes:
        id: The same for every try of one message; empty where nobody will try again.
        subject: The same for all messages of one incident.
        thread: Where the incident stands in Slack; empty: this message begins it.
        tried: It may have arrived already: the channel is asked first, where it can be.
    """

    id: str = ""
    subject: str = ""
    thread: tuple[str, ...] = ()
    tried: bool = False


@dataclass(frozen=True)
class Letter:
    """One message.

    Attributes:
        summary: One line.
        fields: Short facts with their labels; sections: longer ones.
        link: Label and address; None where there is no page.
    """

    sign: str
    title: str
    summary: str
    fields: tuple[tuple[str, str], ...]
    sections: tuple[tuple[str, str], ...]
    link: tuple[str, str] | None
    at: datetime

    def redacted(self, secrets: Sequence[str]) -> Letter:
        """Without secrets and values of rows, whoever wrote it."""
        return replace(
            self,
            title=redact(self.title, secrets),
            summary=redact(self.summary, secrets),
            fields=tuple((label, redact(text, secrets)) for label, text in self.fields),
            sections=tuple((label, redact(text, secrets)) for label, text in self.sections),
        )

    @property
    def foot(self) -> str:
        return f"PRA · {to_iso(self.at)[:19]}Z"

    @property
    def text(self) -> str:
        """The whole of it as plain text, for a mail."""
        lines = [f"{label}: {text}" for label, text in self.fields if text]
        for label, text in self.sections:
            if text:
                lines += ["", f"{label}", text]
        if self.link:
            lines += ["", f"{self.link[0]}: {self.link[1]}"]
        return "\n".join([*lines, "", self.foot])
