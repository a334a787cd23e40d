"""``[runbook]``: what the runbook says of this company, and the people it names. No secrets."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pra.settings_fields import Duration, Frozen, wrong

Duty = Literal["decides", "approves", "hosting", "data-protection", "communication"]


def _one_line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise wrong("is not one line of text", "Write it on one line, without control characters.")
    if "://" in text:
        # Where somebody is called automatically is a secret: such an address holds a password.
        raise wrong(
            "is an address, not words for people",
            "Addresses that alerts are sent to go into PRA_ALERTS__TIER1 and the like.",
        )
    return text.strip()


Line = Annotated[str, Field(max_length=120), AfterValidator(_one_line)]


class Contact(Frozen):
    """Somebody who is called, by a person, with a telephone.

    Attributes:
        tier: 1 is called first, then 2, then 3; None: not on call.
        duties: What this person is called for. ``decides`` on a failover, ``approves`` it with a key of their
            own, ``hosting`` is the vendor, ``data-protection`` tells the authority, ``communication`` tells
            the users.
        hours: When they can be reached; not said: always.
    """

    name: Line
    role: Line | None = None
    phone: Line | None = None
    email: Line | None = None
    tier: int | None = Field(default=None, ge=1, le=3)
    duties: list[Duty] = Field(default_factory=list)
    hours: Line | None = None

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.phone is None and self.email is None:
            raise wrong("has neither phone nor email", "Say how this person is reached.")
        if self.tier is None and not self.duties:
            raise wrong("has neither tier nor duties", "Say when this person is called, or what for.")
        return self


class Runbook(Frozen):
    """What ``pra runbook`` cannot know by itself.

    Attributes:
        organisation: In whose name users are written to.
        repair_for: How long a database that is down may be repaired before the failover begins.
        authority: Who is told of a leak of personal data within 72 hours.
    """

    organisation: Line | None = None
    repair_for: Duration = timedelta(minutes=5)
    authority: Line = "CNIL"
    contacts: list[Contact] = Field(default_factory=list)
