"""When a finding is worth an incident, how urgent it is and what it means: data for `pra.watch.judge`.

AKIG's thresholds are the defaults, one apart: the age of the last backup is judged by its own schedule
(`pra.watch.status.repository.age_level`), since fixed 50 minutes, 1 hour and 2 hours would be exceeded in
every healthy hour. Thresholds of measurements themselves (shares of disks, seconds of an answer, days since
a PASS) are those of ``[status]``: a finding's level says that one was passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from pra.messages import mark
from pra.watch.incident_model import Priority
from pra.watch.status.finding import Finding, Level

P1, P2, P3 = Priority.P1, Priority.P2, Priority.P3
BLIND = "blind"
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Step:
    """One degree of a rule: from this level on, for this long, it is that urgent.

    Attributes:
        intervals: So many intervals of the backup schedule are added to ``after``.
    """

    level: Level
    priority: Priority
    after: timedelta = timedelta(0)
    intervals: float = 0.0

    def reached(self, finding: Finding, now: datetime, interval: timedelta) -> bool:
        if finding.level is Level.UNKNOWN or finding.level.rank < self.level.rank:
            return False
        lasted = now - (finding.since or now)
        return lasted >= self.after + interval * self.intervals


@dataclass(frozen=True)
class Rule:
    """What findings of one kind mean together: one incident a target.

    Attributes:
        names: Patterns of findings' names.
        steps: Degrees; the most urgent one that is reached counts.
        means: What it means for RPO and RTO; ``{rpo}`` and ``{rto}`` are the target's.
        section: Of the runbook.
        unless: A finding of the same target that explains it while that one is critical.
    """

    name: str
    names: tuple[str, ...]
    steps: tuple[Step, ...]
    means: str
    section: str
    unless: str = ""

    def covers(self, finding: str) -> bool:
        return any(fnmatchcase(finding, pattern) for pattern in self.names)


@dataclass(frozen=True)
class ShareRule:
    """How often a finding was bad, of the samples of some time: what comes and goes is an incident too.

    Attributes:
        share: More than this is too much. least: So many bad ones there must be at any rate.
    """

    name: str
    finding: str
    share: float
    window: timedelta
    least: int
    priority: Priority
    means: str
    section: str


RULES: tuple[Rule, ...] = (
    Rule(
        "database",
        ("database",),
        (Step(Level.CRITICAL, P1, 5 * _MINUTE), Step(Level.WARNING, P3, 15 * _MINUTE)),
        mark("The service is down or slow. The RTO of {rto} counts from the moment it stopped answering."),
        "database-down",
    ),
    Rule(
        "tables",
        ("tables",),
        (Step(Level.CRITICAL, P1),),
        mark("Data is missing from the live database. What the backups hold is not lost: RPO {rpo}."),
        "table-gone",
    ),
    Rule(
        "disk",
        ("disk.*",),
        (Step(Level.CRITICAL, P1), Step(Level.WARNING, P2)),
        mark("When the disk is full, backups, WAL and restores stop, and the RPO of {rpo} is lost."),
        "disk-full",
    ),
    Rule(
        "proof",
        ("proof.*",),
        (Step(Level.CRITICAL, P1), Step(Level.WARNING, P2, 15 * _MINUTE)),
        mark("Nobody can say that the backups can be restored: RPO {rpo} and RTO {rto} are unproven."),
        "restore-test-failed",
    ),
    Rule(
        "drill",
        ("drill",),
        (Step(Level.CRITICAL, P1), Step(Level.WARNING, P3, _HOUR)),
        mark("A real disaster may take longer than the RTO of {rto}: the rehearsal did not succeed."),
        "drill-failed",
    ),
    Rule(
        "scrub",
        ("scrub", "scrub.*"),
        (Step(Level.CRITICAL, P1), Step(Level.WARNING, P3, _HOUR)),
        mark("Stored backups or WAL are damaged: moments within the RPO of {rpo} may not come back."),
        "damage-found",
    ),
    Rule(
        "backup",
        ("backup.*",),
        (
            Step(Level.CRITICAL, P1),
            Step(Level.WARNING, P2, intervals=0.5),
            Step(Level.WARNING, P3),
        ),
        mark("A disaster now would cost more than the time since the last backup: RPO {rpo}."),
        "backup-late",
        unless="database",
    ),
    Rule(
        "wal",
        ("wal.*",),
        (Step(Level.CRITICAL, P1, 5 * _MINUTE), Step(Level.WARNING, P3, 15 * _MINUTE)),
        mark("The latest transactions are not safe elsewhere: the RPO of {rpo} is passed or soon will be."),
        "wal-late",
        unless="database",
    ),
    Rule(
        "api",
        ("api",),
        (Step(Level.CRITICAL, P2), Step(Level.WARNING, P2)),
        mark("Users are kept waiting or turned away; the data is not concerned. RTO {rto}."),
        "api-down",
        unless="database",
    ),
    Rule(
        "other",
        ("*",),
        (Step(Level.CRITICAL, P2, 5 * _MINUTE), Step(Level.WARNING, P3, 15 * _MINUTE)),
        mark("Protection is weaker than it should be; RPO {rpo} and RTO {rto} still hold."),
        "status",
        unless="database",
    ),
)
"""The first rule that covers a finding judges it."""

SHARE_RULES: tuple[ShareRule, ...] = (
    ShareRule(
        "api-errors",
        "api",
        0.01,
        _DAY,
        3,
        P3,
        mark("Some requests fail; the data is not concerned. RTO {rto}."),
        "api-errors",
    ),
    ShareRule(
        "database-errors",
        "database",
        0.10,
        2 * _HOUR,
        3,
        P2,
        mark("The database comes and goes; an outage may follow. RTO {rto}."),
        "database-down",
    ),
)

BLIND_AFTER = 15 * _MINUTE
_BLIND_MEANS = mark("What nobody can look at may be broken: RPO {rpo} and RTO {rto} are not watched.")
_CHANNEL_MEANS = mark("Alerts do not arrive there: the next incident may be noticed late.")
MEANS: Mapping[str, str] = {
    **{rule.name: rule.means for rule in RULES},
    **{rule.name: rule.means for rule in SHARE_RULES},
    BLIND: _BLIND_MEANS,
    "channel": _CHANNEL_MEANS,
}
SECTIONS: Mapping[str, str] = {
    **{rule.name: rule.section for rule in RULES},
    **{rule.name: rule.section for rule in SHARE_RULES},
    BLIND: "status",
    "channel": "channel-failed",
}
