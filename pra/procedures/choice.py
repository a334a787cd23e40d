"""Full or incremental, upon what, and how deep the fingerprint looks: decided from what there is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pra.manifest import Manifest
from pra.model import Kind
from pra.postgres.facts import Depth
from pra.settings_model import Target
from pra.timing import format_duration

OLDEST_INCREMENTAL = 17
"""The first major with ``summarize_wal``."""
SLACK = timedelta(minutes=5)
"""A schedule does not run to the second: a daily full must not slip by a run each day."""


@dataclass(frozen=True)
class Choice:
    """What kind of backup to take.

    Attributes:
        parents: The chain it stands upon, the full backup first; empty for a full.
        lineage: The manifest of the last of them, as PostgreSQL wants it; None for a full.
        reason: Why it is a full; empty for an incremental one.
    """

    kind: Kind
    depth: Depth
    parents: tuple[str, ...] = ()
    lineage: bytes | None = field(default=None, repr=False)
    reason: str = ""


@dataclass(frozen=True)
class Situation:
    """What the decision rests on.

    Attributes:
        backups: Every readable backup of the target, of any repository, each once.
        system_identifier, timeline: The server's, now.
        asked_full: Somebody asked for a full backup.
    """

    target: Target
    backups: Sequence[Manifest]
    major: int
    summarize_wal: bool
    system_identifier: str
    timeline: int
    now: datetime
    asked_full: bool = False


def parent_of(situation: Situation) -> Manifest | str:
    """The backup that an incremental one would stand upon, or why a full one is needed.

    It is always the newest, so that a chain never leaves out what happened between.

    Example: with ``full_every = 1d``, a full of 25 hours ago and its incrementals: a full.
    """
    if situation.asked_full:
        return "asked for"
    if situation.major < OLDEST_INCREMENTAL:
        return f"PostgreSQL {situation.major} takes no incremental backups"
    policy = situation.target.physical
    if policy.longest_chain == 0:
        return "longest_chain is 0"
    newest = newest_physical(situation.backups)
    if newest is None or newest.physical is None:
        return "it is the first"
    if newest.server.system_identifier != situation.system_identifier:
        return "the server is another one than before"
    if newest.server.version_num // 10000 != situation.major:
        return "the server's major version has changed"
    if newest.physical.timeline != situation.timeline:
        return (
            f"the server is on timeline {situation.timeline}, the backup before on {newest.physical.timeline}"
        )
    if not situation.summarize_wal:
        return "summarize_wal is off"
    if len(newest.parents) >= policy.longest_chain:
        return f"the chain has {len(newest.parents)} incremental backups, and may have {policy.longest_chain}"
    known = {each.backup_id: each for each in situation.backups}
    if lost := [parent for parent in newest.parents if parent not in known]:
        return f"{lost[0]}, which {newest.backup_id} stands upon, is nowhere"
    full = known[newest.parents[0]] if newest.parents else newest
    age = situation.now - full.taken_at
    if age >= policy.full_every - min(SLACK, policy.full_every / 10):
        return f"the last full backup is {format_duration(age.total_seconds())} old"
    return newest


def newest_physical(backups: Sequence[Manifest]) -> Manifest | None:
    physical = [each for each in backups if each.physical is not None]
    return max(physical, key=lambda each: (each.taken_at, each.backup_id), default=None)


def depth_of(situation: Situation) -> Depth:
    """How deep the fingerprint looks: the target's depth, or not at all where a younger backup has it.

    Example: with ``digest_every = 6h`` and a digest of 5 hours ago: ``none``.
    """
    every = situation.target.physical.digest_every
    depth = situation.target.digest
    if every is None:
        return depth
    digests = [
        each.taken_at
        for each in situation.backups
        if each.fingerprint.depth == depth and each.server.system_identifier == situation.system_identifier
    ]
    return "none" if digests and situation.now - max(digests) < every else depth
