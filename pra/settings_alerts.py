"""``[alerts]``: who is told of what, when the next one is told, and when a matter counts as over."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, SecretStr, model_validator

from pra.settings_fields import Duration, Frozen, refuse_plain_http


class Route(Frozen):
    """Where incidents of one severity go.

    Attributes:
        slack: Whether they are written in Slack.
        tiers: How many tiers of contacts are told, one after the other; 0: none.
        ack_within: How long each tier has for ``pra ack``, before the next one is told.
        resolve_within: In which time it should be over.
    """

    slack: bool = True
    tiers: int = Field(default=0, ge=0, le=3)
    ack_within: Duration = timedelta(minutes=30)
    resolve_within: Duration = timedelta(days=1)


class Alerts(Frozen):
    """Secrets come from the environment: tokens, URLs of webhooks, and Apprise URLs of contacts.

    Attributes:
        heartbeat: A URL that is asked after every status pass without anything critical.
        tier1, tier2, tier3: The contacts of each tier: Apprise URLs, separated by blanks.
        settle: How long all must have been well before an incident closes; longer after each relapse.
        reopen: A relapse within this after the end continues the same incident.
        runbook: Address of the runbook; a section of it is named after ``#``.
        link: Where to look further, when the incident itself knows no page.
    """

    heartbeat: SecretStr | None = None
    slack_token: SecretStr | None = None
    slack_channel: str | None = None
    slack_webhook: SecretStr | None = None
    slack_base_url: str | None = None
    tier1: SecretStr | None = None
    tier2: SecretStr | None = None
    tier3: SecretStr | None = None
    p1: Route = Route(tiers=3, ack_within=timedelta(minutes=5), resolve_within=timedelta(minutes=15))
    p2: Route = Route(tiers=2, ack_within=timedelta(minutes=30), resolve_within=timedelta(hours=1))
    p3: Route = Route()
    settle: Duration = timedelta(minutes=10)
    reopen: Duration = timedelta(hours=1)
    runbook: str | None = None
    link: str | None = None

    @model_validator(mode="after")
    def _token_travels_safely(self) -> Self:
        if self.slack_base_url is not None:
            refuse_plain_http("slack_base_url", self.slack_base_url, allowed=False)
        return self

    def contacts(self, tier: int) -> list[str]:
        """The Apprise URLs of tier 1, 2 or 3; empty where it has none."""
        secret = (self.tier1, self.tier2, self.tier3)[tier - 1]
        return secret.get_secret_value().split() if secret is not None else []

    @property
    def secrets(self) -> list[str]:
        """Every value that must never be said."""
        found = [self.slack_token, self.slack_webhook, self.heartbeat, self.tier1, self.tier2, self.tier3]
        values = [secret.get_secret_value() for secret in found if secret is not None]
        return [*values, *(url for tier in (1, 2, 3) for url in self.contacts(tier))]
