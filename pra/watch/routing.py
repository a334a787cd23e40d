"""Who is told: channels by priority, tier after tier. Pure.

Standing channels (Slack) are told everything of their priorities; tiers of contacts one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pra.settings_alerts import Alerts, Route
from pra.watch.incident_model import Incident, Priority

SLACK, WEBHOOK = "slack", "webhook"
CHANNEL_RULE = "channel"
_TIERS = (1, 2, 3)


def channel_key(channel: str) -> str:
    """The key of the incident that a channel fails."""
    return f"@alerts/{channel}"


def contact_channels(alerts: Alerts, tier: int) -> tuple[str, ...]:
    """A channel for each contact of a tier."""
    return tuple(f"tier{tier}-{number}" for number in range(1, len(alerts.contacts(tier)) + 1))


def contact_of(alerts: Alerts, channel: str) -> str:
    """The Apprise URL behind such a channel; empty where there is none."""
    tier, _, number = channel.removeprefix("tier").partition("-")
    contacts = alerts.contacts(int(tier))
    return contacts[int(number) - 1] if int(number) <= len(contacts) else ""


@dataclass(frozen=True)
class Policy:
    """``[alerts]`` as the state machine needs it.

    Attributes:
        standing: ``slack`` and ``webhook``, where configured.
        tiers: Of each tier that has contacts, in order, a channel for each of them: ``tier1-1``, ``tier1-2``.
    """

    p1: Route
    p2: Route
    p3: Route
    standing: tuple[str, ...]
    tiers: tuple[tuple[str, ...], ...]
    settle: timedelta
    reopen: timedelta

    @classmethod
    def of(cls, alerts: Alerts) -> Policy:
        standing = [(SLACK, alerts.slack_token), (WEBHOOK, alerts.slack_webhook)]
        return cls(
            alerts.p1,
            alerts.p2,
            alerts.p3,
            tuple(name for name, secret in standing if secret is not None),
            tuple(contact_channels(alerts, number) for number in _TIERS if alerts.contacts(number)),
            alerts.settle,
            alerts.reopen,
        )

    @property
    def channels(self) -> tuple[str, ...]:
        return (*self.standing, *(channel for tier in self.tiers for channel in tier))

    def route(self, priority: Priority) -> Route:
        return {Priority.P1: self.p1, Priority.P2: self.p2, Priority.P3: self.p3}[priority]

    def standing_for(self, incident: Incident) -> tuple[str, ...]:
        """What always hears of it. Where the route leads nowhere at all: the first channel there is."""
        route = self.route(incident.priority)
        found = _without_itself(self.standing if route.slack else (), incident)
        if found or self.tiers_for(incident):
            return found
        return _without_itself(self.channels, incident)[:1]

    def tiers_for(self, incident: Incident) -> tuple[tuple[str, ...], ...]:
        """Contacts of its priority, tier after tier, in the order in which they are told."""
        tiers = self.tiers[: self.route(incident.priority).tiers]
        return tuple(left for tier in tiers if (left := _without_itself(tier, incident)))

    def calm(self, incident: Incident) -> timedelta:
        """How long all must be well before it closes.

        Example: 10 minutes; 20 after the first relapse, 40 after the second, never more than ``reopen``.
        """
        doubled: timedelta = self.settle * 2 ** min(incident.relapses, 16)
        return max(self.settle, min(doubled, self.reopen))


def _without_itself(channels: tuple[str, ...], incident: Incident) -> tuple[str, ...]:
    """That a channel fails is told by the others."""
    return tuple(channel for channel in channels if incident.key != channel_key(channel))
