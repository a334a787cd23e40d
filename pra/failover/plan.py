"""What a failover is going to do: decided before anybody is asked, and what is approved."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pra.approval import digest
from pra.engines.recovery import LATEST, RecoveryTarget
from pra.errors import PraError, RestoreError, SignatureError, UsageError
from pra.failover.standby import StandbyState, look_at
from pra.postgres.connect import Server
from pra.procedures import physical_plan, physical_restore
from pra.procedures.context import Context
from pra.procedures.destination import Destination
from pra.procedures.physical_plan import Wishes
from pra.procedures.planning import Planned, choice_of, plan_recovery
from pra.settings_failover import COMMANDS, Failover
from pra.timing import to_iso

SCHEMA = "pra/failover-plan/1"
_OP = "plan failover"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What was asked for.

    Attributes:
        moment: Where recovery ends.
        repository, backup_id: Read this one and nothing else; None: where least is lost.
        disaster_at: When the service was lost; None: when the failover began.
        resume: Go on with the newest unfinished one.
        old_is_off: The target's name, typed by an operator who has seen that the old server is off.
        despite_checks: The same, to go on although a check failed.
    """

    moment: RecoveryTarget = LATEST
    repository: str | None = None
    backup_id: str | None = None
    disaster_at: datetime | None = None
    resume: bool = False
    old_is_off: str = ""
    despite_checks: str = ""


@dataclass(frozen=True)
class FailoverPlan:
    """What is approved: the same plan, the same digest.

    How far the WAL reaches is not in it, since it may still be on its way. Commands are named by their
    digest: their arguments are the operator's own business.

    Attributes:
        repositories: Where a damaged backup's stand-in is looked for, in this order.
    """

    target: str
    way: Literal["restore", "standby"]
    serving: str
    moment: str = "latest"
    inclusive: bool = True
    repository: str = ""
    repositories: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    manifest_sha256: str = ""
    directory: str = ""
    tablespaces: Mapping[str, str] = field(default_factory=dict)
    standby: str = ""
    service_file: str = ""
    service: str = ""
    commands: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "target": self.target,
            "way": self.way,
            "serving": self.serving,
            "moment": self.moment,
            "inclusive": self.inclusive,
            "repository": self.repository,
            "repositories": list(self.repositories),
            "chain": list(self.chain),
            "manifest_sha256": self.manifest_sha256,
            "directory": self.directory,
            "tablespaces": dict(self.tablespaces),
            "standby": self.standby,
            "service_file": self.service_file,
            "service": self.service,
            "commands": dict(self.commands),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> FailoverPlan:
        """Read one back. Raises KeyError, TypeError where it is none."""
        values = {name: found[name] for name in cls.__dataclass_fields__}
        return cls(**values | {name: tuple(found[name]) for name in ("repositories", "chain")})

    @property
    def sha256(self) -> str:
        return digest(self.as_json())

    @property
    def backup_id(self) -> str:
        return self.chain[-1] if self.chain else ""


@dataclass(frozen=True)
class Outlook:
    """What is expected of a plan: it changes from minute to minute, so it is shown, not approved.

    Attributes:
        seconds: How long the recovery should take; None: nothing like it was ever measured.
        lost_after: Until then everything is known to come back. loses_seconds: From there to the disaster.
    """

    seconds: float | None = None
    lost_after: datetime | None = None
    loses_seconds: float | None = None
    timeline: int = 0
    major: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "estimate_milliseconds": None if self.seconds is None else round(self.seconds * 1000),
            "lost_after": to_iso(self.lost_after) if self.lost_after else None,
            "loses_milliseconds": None if self.loses_seconds is None else round(self.loses_seconds * 1000),
            "timeline": self.timeline,
        }


def failover_of(context: Context) -> Failover:
    """The target's settings for this.

    Raises:
        UsageError: There are none, or its backups cannot be recovered to a moment.
    """
    target = context.target
    if target.engine != "physical":
        raise UsageError(
            f"{target.name} is backed up logically: a failover recovers to the last commit",
            op=_OP,
            hint=f'Set engine = "physical", or restore its newest dump: pra restore {target.name} --into …',
        )
    if target.failover is None:
        raise UsageError(
            f"no failover is configured for {target.name}",
            op=_OP,
            hint=f"Write [targets.{target.name}.failover]; pra.toml.example shows every key.",
        )
    return target.failover


def serving(context: Context, how: Failover) -> Server:
    """Where the service answers afterwards; the password is the target's."""
    password = context.target.password
    return Server.parse(how.serving, password.get_secret_value() if password else None)


def make(context: Context, order: Order) -> tuple[FailoverPlan, Outlook]:
    """Decide. Reads settings, manifests and listings; asks the standby where there is one.

    Raises:
        UsageError: The settings do not fit, the directory is not empty, or no backup leads there.
        PraError: No repository can be read; a signature does not hold.
    """
    how = failover_of(context)
    if how.standby is not None:
        return _promotion(context, how, order)
    return _restoration(context, how, order)


def _common(context: Context, how: Failover) -> dict[str, Any]:
    texts = {name: getattr(how, name) for name in COMMANDS}
    return {
        "target": context.target.name,
        "serving": serving(context, how).place,
        "service_file": str(how.service_file or ""),
        "service": how.service or "",
        "commands": {
            name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in texts.items() if text
        },
    }


def _promotion(context: Context, how: Failover, order: Order) -> tuple[FailoverPlan, Outlook]:
    if order.moment != LATEST or order.backup_id or order.repository:
        raise UsageError(
            "a standby is promoted as it is: it cannot go back to a moment or a backup",
            op=_OP,
            hint=f"Leave --to, --backup and --repository out, or take targets.{context.target.name}"
            ".failover.standby out of pra.toml.",
        )
    server = serving_standby(context, how)
    state = look_at(server)
    _is_of_this_target(context, state)
    now = order.disaster_at or context.clock()
    loses = None if state.last_commit is None else max((now - state.last_commit).total_seconds(), 0.0)
    plan = FailoverPlan(way="standby", standby=server.place, **_common(context, how))
    return plan, Outlook(None, state.last_commit, loses, state.timeline)


def serving_standby(context: Context, how: Failover) -> Server:
    """The standby itself."""
    assert how.standby is not None
    password = context.target.password
    return Server.parse(how.standby, password.get_secret_value() if password else None)


def _is_of_this_target(context: Context, state: StandbyState) -> None:
    for name in context.repositories:
        try:
            entries = context.catalog(name).backups()
        except PraError as error:
            _log.warning("%s: %s", name, error.message)
            continue
        known = {e.manifest.server.system_identifier for e in entries if e.manifest is not None}
        if known and state.system_id not in known:
            raise UsageError(
                "the standby is of another server than the backups",
                op=_OP,
                hint="Correct failover.standby: it must stream from the server that was lost.",
            )
        if known:
            return


def _restoration(context: Context, how: Failover, order: Order) -> tuple[FailoverPlan, Outlook]:
    assert how.directory is not None
    planned = _where_least_is_lost(context, order)
    wishes = Wishes(how.tablespaces, disaster_at=order.disaster_at)
    destination = Destination.parse(str(how.directory))
    physical_restore.check(planned, destination, wishes)
    choice = choice_of(planned, context, planned.plan.repository)
    seen = physical_plan.plan(context, planned, destination, wishes)
    first = planned.plan.repository
    others = [name for name in context.repositories if name != first and order.repository is None]
    plan = FailoverPlan(
        way="restore",
        moment=order.moment.argument(),
        inclusive=order.moment.inclusive,
        repository=first,
        repositories=(first, *others),
        chain=seen.chain,
        manifest_sha256=choice.manifest_sha256,
        directory=str(how.directory),
        tablespaces={old: str(new) for old, new in how.tablespaces.items()},
        **_common(context, how),
    )
    seconds = seen.estimate.seconds if seen.estimate else None
    return plan, Outlook(
        seconds,
        seen.lost_after,
        seen.loses_seconds,
        seen.timeline,
        planned.plan.manifest.server.version_num // 10000,
    )


def _where_least_is_lost(context: Context, order: Order) -> Planned:
    """The repository whose WAL leads furthest; of equals the first listed."""
    found: list[Planned] = []
    failures: list[PraError] = []
    for name in [order.repository] if order.repository else list(context.repositories):
        try:
            found.append(plan_recovery(context, name, order.moment, backup_id=order.backup_id))
        except PraError as error:
            failures.append(error)
            _log.warning("%s: %s", name, error.message)
    if not found:
        signature = next((each for each in failures if isinstance(each, SignatureError)), None)
        raise signature or (failures[-1] if failures else RestoreError("no repository", op=_OP))
    if order.moment.kind != "latest":
        return found[0]
    return max(found, key=lambda each: (each.plan.timeline, each.plan.until))
