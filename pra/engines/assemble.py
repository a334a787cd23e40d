"""From a plan's chain of backups to one data directory that a server can recover in.

Each member is fetched and verified into a folder of its own; incremental ones are combined. The directory
gets its name once it is whole, and ``pg_control`` is put last into each: what lacks it nobody starts.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pra.disk import disk_errors
from pra.engines.base_fetching import TABLESPACE_MAP, BaseFiles, fetch_base, relocate
from pra.engines.chain import facts
from pra.engines.combine import FIRST_MAJOR, combine
from pra.engines.fetching import read_fingerprint
from pra.engines.logical import FINGERPRINT, Report, no_report
from pra.engines.recovery import RecoveryPlan
from pra.errors import IntegrityError, ToolError, UsageError
from pra.layout import object_key
from pra.manifest import Manifest
from pra.postgres.fingerprint import Fingerprint
from pra.postgres.tools import Tools
from pra.postgres.wal import parse_lsn
from pra.proc import Account, Scope
from pra.storage.base import Storage

CONFIGURATION = "configuration.json"
LABEL = "backup_label"
_OP = "assemble backup"
_START = re.compile(r"^START WAL LOCATION: ([0-9A-F]+/[0-9A-F]+) \(file", re.MULTILINE)
_TIMELINE = re.compile(r"^START TIMELINE: (\d+)$", re.MULTILINE)
_FROM = re.compile(r"^INCREMENTAL FROM LSN: ([0-9A-F]+/[0-9A-F]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Assembled:
    """A data directory ready for recovery.

    Attributes:
        data: The directory, owned by the account that will run the server.
        fingerprint: Of the newest member.
        configuration: The newest member's configuration document (a JSON file), where it has one.
        bytes: What was read from the repository.
        tablespaces: Where each tablespace is, by OID.
    """

    data: Path
    fingerprint: Fingerprint
    configuration: Path | None
    bytes: int
    tablespaces: Mapping[int, Path]


def assemble(
    storage: Storage,
    target_name: str,
    plan: RecoveryPlan,
    data: Path,
    work: Path,
    *,
    scope: Scope,
    tools: Tools,
    identities: Sequence[str],
    jobs: int = 2,
    tablespaces: Mapping[int, Path] | None = None,
    account: Account | None = None,
    durable: bool = False,
    report: Report = no_report,
) -> Assembled:
    """Fetch every member of the chain and make one data directory of them.

    Args:
        data: Does not exist or is empty; its parent exists. Made 0700.
        work: Our 0700 folder on the data's file system, for what has to be combined.
        tablespaces: Where each tablespace goes, by OID; by default to ``<data>-tablespaces/<oid>``.
        account: Who will own it all; None: whoever we are.
        durable: Flush what was combined to the disk: a real restore.

    Raises:
        IntegrityError: An object is not what was signed, or the members do not fit together.
        UsageError: A place is not empty.
        SpaceError: The disk is full. ToolError: This PostgreSQL cannot combine backups.
    """
    if len(plan.chain) > 1 and tools.major < FIRST_MAJOR:
        raise ToolError(f"PostgreSQL {tools.major} has no incremental backups", op=_OP)
    making = _Making(storage, target_name, plan, data, work, scope, tools, identities, jobs, account, report)
    with disk_errors(_OP, data.parent):
        _require_empty(data)
        places = _places(plan.manifest, data, tablespaces or {}, account)
        if len(plan.chain) == 1:
            data.mkdir(mode=0o700, exist_ok=True)
            data.chmod(0o700)
            member = making.fetch(0, data, places)
        else:
            member = making.combined(places, durable=durable)
    configuration = member.extras / CONFIGURATION
    return Assembled(
        data,
        read_fingerprint(member.extras / FINGERPRINT, plan.manifest),
        configuration if configuration.exists() else None,
        sum(making.done.values()),
        places,
    )


@dataclass
class _Making:
    storage: Storage
    target_name: str
    plan: RecoveryPlan
    data: Path
    work: Path
    scope: Scope
    tools: Tools
    identities: Sequence[str]
    jobs: int
    account: Account | None
    report: Report
    done: dict[int, int] = field(default_factory=dict)

    def fetch(
        self, number: int, directory: Path, tablespaces: Mapping[int, Path], *, jobs: int | None = None
    ) -> BaseFiles:
        """One member, verified, its label compared with what its manifest says."""
        manifest = self.plan.chain[number]

        def tell(phase: str, done: int, _: int) -> None:
            self.done[number] = done
            self.report(phase, sum(self.done.values()), self.plan.backup_bytes)

        member = fetch_base(
            self.storage,
            lambda name: object_key(self.target_name, manifest.backup_id, name),
            manifest,
            directory,
            scope=self.scope,
            identities=self.identities,
            jobs=jobs or self.jobs,
            tablespaces=tablespaces,
            extras=self.work / f"{number:03}.extras",
            owner=self.account,
            report=tell,
        )
        self.done[number] = member.bytes
        check_label(directory, manifest, self.plan.chain[number - 1] if number else None)
        return member

    def combined(self, places: Mapping[int, Path], *, durable: bool) -> BaseFiles:
        """Every member, made into one that takes the name ``data`` when it is whole."""
        # The full one takes every process; the others are small, and their number is what costs.
        members = [self._member(0, self.jobs)]
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="fetch member") as pool:
            later = [pool.submit(self._member, number, 1) for number in range(1, len(self.plan.chain))]
            try:
                members += [each.result() for each in later]
            except BaseException:
                for each in later:
                    each.cancel()
                raise
        newest, output = members[-1], self.work / "combined"
        moves = {newest.tablespaces[oid]: place for oid, place in places.items()}
        inputs = [member.directory for member in members]
        combine(self.scope, self.tools, inputs, output, tablespaces=moves, durable=durable)
        relocate(output / TABLESPACE_MAP, places)
        for folder in (output, *places.values()):
            _own(folder, self.account)
        if self.data.exists():
            self.data.rmdir()
        output.rename(self.data)
        for member in members:
            for folder in (member.directory, *member.tablespaces.values()):
                shutil.rmtree(folder)
        return newest

    def _member(self, number: int, jobs: int) -> BaseFiles:
        directory = self.work / f"{number:03}"
        directory.mkdir(mode=0o700)
        oids = [tablespace.oid for tablespace in facts(self.plan.chain[number]).tablespaces]
        own = {oid: self.work / f"{number:03}.{oid}" for oid in oids}
        for folder in own.values():
            folder.mkdir(mode=0o700)
        member = self.fetch(number, directory, own, jobs=jobs)
        for oid, folder in own.items():
            # By which pg_combinebackup finds them; a server would make them from its tablespace_map.
            link = directory / "pg_tblspc" / str(oid)
            link.unlink(missing_ok=True)
            link.symlink_to(folder)
        return member


def check_label(directory: Path, manifest: Manifest, parent: Manifest | None) -> None:
    """``backup_label`` says where recovery begins: without it a server would begin at the wrong place.

    Raises:
        IntegrityError: It is missing, or does not say what the manifest says.
    """
    base = facts(manifest)
    try:
        label = (directory / LABEL).read_text(errors="replace")
    except FileNotFoundError:
        raise IntegrityError(f"{manifest.backup_id} holds no {LABEL}", op=_OP) from None
    start, timeline, upon = (found.search(label) for found in (_START, _TIMELINE, _FROM))
    fits = (
        start is not None
        and parse_lsn(start[1]) == base.start
        and timeline is not None
        and int(timeline[1]) == base.timeline
        and (parse_lsn(upon[1]) if upon else None) == (facts(parent).start if parent else None)
    )
    if not fits:
        raise IntegrityError(f"{LABEL} of {manifest.backup_id} is not what its manifest says", op=_OP)


def _places(
    manifest: Manifest, data: Path, wanted: Mapping[int, Path], account: Account | None
) -> dict[int, Path]:
    """An empty 0700 folder for every tablespace."""
    places = {}
    for tablespace in facts(manifest).tablespaces:
        place = wanted.get(tablespace.oid)
        if place is None:
            beside = data.with_name(f"{data.name}-tablespaces")
            beside.mkdir(mode=0o700, exist_ok=True)
            _own_one(beside, account)
            place = beside / str(tablespace.oid)
        _require_empty(place)
        place.mkdir(mode=0o700, exist_ok=True)
        _own_one(place, account)
        places[tablespace.oid] = place
    return places


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is not an empty directory", op=_OP, hint="Choose a new directory, or empty this one."
        )


def _own(folder: Path, account: Account | None) -> None:
    if account is None or os.geteuid() != 0:
        return
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(where) / name, account.uid, account.gid, follow_symlinks=False)
    _own_one(folder, account)


def _own_one(path: Path, account: Account | None) -> None:
    if account is not None and os.geteuid() == 0:
        os.chown(path, account.uid, account.gid)
