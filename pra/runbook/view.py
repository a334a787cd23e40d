"""What a template sees: settings and facts as words in one language, ready to be put into Markdown.

A value is plain text, which the template's environment escapes, or `Markup`, which is Markdown already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup

from pra.settings_runbook import Contact, Duty

Way = Literal["failover", "directory", "database"]
"""How a lost server comes back. ``failover``: one command. ``directory``: a new server from base backup and
WAL, put into service by hand. ``database``: the newest dump."""


@dataclass(frozen=True)
class Rehearsal:
    """The last drill of one scenario; ``seconds`` as words."""

    target: Markup
    day: str
    verdict: str
    took: str
    lost: str


@dataclass(frozen=True)
class Proof:
    """The last PASS of one target in one repository; all ``unknown`` where there is none."""

    repository: Markup
    day: str
    backup: Markup
    took: str
    known: bool


@dataclass(frozen=True)
class TargetView:
    """One target.

    Attributes:
        place: ``host:port/database``. dsn: As a word of a shell command, and with it:
        owner: The same as role ``postgres``. beside: A new database there. maintenance: ``postgres`` there.
        table: A critical table, or one of the example's. schema: Where one is brought back to.
        offsite: The repository that should outlive this site; empty where there is none.
        directory: Where a restore goes: never the failover's own, which has to be empty.
        latest: The last minute at which the recovery may begin. measured: What that is made from.
        api: The application's address.
    """

    name: Markup
    way: Way
    physical: bool
    place: Markup
    dsn: Markup
    owner: Markup
    beside: Markup
    maintenance: Markup
    database: Markup
    rpo: str
    rto: str
    repositories: tuple[Markup, ...]
    offsite: Markup
    table: Markup
    schema: Markup
    slot: Markup
    directory: Markup
    latest: str
    measured: str
    api: str
    fence: bool = False
    switch: bool = False
    streamer: bool = False
    standby: bool = False
    approvers: int = 0
    proofs: tuple[Proof, ...] = ()
    failover: Rehearsal | None = None
    problem: str = ""


@dataclass(frozen=True)
class Escalation:
    """What happens with one priority. ``calls``: tier and the minute at which it is told."""

    name: str
    calls: tuple[tuple[int, str], ...]
    ack: str
    resolve: str
    slack: bool


@dataclass(frozen=True)
class RepositoryView:
    name: Markup
    where: Markup
    folder: Markup
    offsite: bool
    locked: bool


@dataclass(frozen=True)
class View:
    """Everything.

    Attributes:
        drills: By scenario, the last rehearsals that are known.
        asked: Whether anybody looked for facts.
    """

    organisation: str
    authority: str
    repair_for: str
    targets: tuple[TargetView, ...]
    repositories: tuple[RepositoryView, ...]
    escalations: tuple[Escalation, ...]
    contacts: tuple[Contact, ...]
    drills: Mapping[str, tuple[Rehearsal, ...]]
    asked: bool
    made: str = ""
    host: str = ""
    keys: Markup = field(default_factory=lambda: Markup('"${PRA_STATE_DIR:?}"/keys'))
    state_dir: Markup = field(default_factory=Markup)
    config: Markup = field(default_factory=Markup)

    def by(self, way: Way) -> tuple[TargetView, ...]:
        return tuple(target for target in self.targets if target.way == way)

    @property
    def physical(self) -> tuple[TargetView, ...]:
        return tuple(target for target in self.targets if target.physical)

    def tier(self, number: int) -> tuple[Contact, ...]:
        return tuple(contact for contact in self.contacts if contact.tier == number)

    def who(self, duty: Duty) -> tuple[Contact, ...]:
        return tuple(contact for contact in self.contacts if duty in contact.duties)
