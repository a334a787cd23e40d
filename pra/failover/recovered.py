"""What came back, as the checks see it: read from journal and repository, so that it outlives a restart."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC
from typing import Any

from pra.disk import disk_errors
from pra.document import canonical
from pra.engines.logical import FINGERPRINT
from pra.engines.recovery import LATEST, RecoveryTarget, parse_target
from pra.errors import IntegrityError, NotFoundError, PraError
from pra.failover.state import Failover
from pra.keys import load_identities
from pra.manifest import Manifest
from pra.model import CheckResult, Status
from pra.postgres.facts import Fingerprint
from pra.postgres.tools import find_tools
from pra.procedures.bring_back import BroughtBack
from pra.procedures.context import Context
from pra.procedures.session import EARLIER
from pra.restored import CheckSet, Recovered, RestoredDatabase
from pra.storage.pipe import unseal
from pra.timing import from_iso, to_iso

OBSERVED = "observed.json"
_PROMOTED = "a standby was promoted: it is newer than any backup"
_log = logging.getLogger(__name__)


def remember(this: Failover, brought: BroughtBack) -> dict[str, Any]:
    """The facts of a recovery that later steps need. What was read at the cut stays on this machine's disk.

    It holds definitions, which no repository may hold in the clear; its digest is in the signed facts.
    """
    found = brought.database.recovered
    assert found is not None
    sha256 = ""
    if found.observed is not None:
        data = canonical(found.observed.to_json(), floats=True)
        sha256 = hashlib.sha256(data).hexdigest()
        file = this.folder / OBSERVED
        with disk_errors("keep what was compared", this.folder):
            file.unlink(missing_ok=True)
            file.touch(mode=0o600)
            file.write_bytes(data)
    manifest, choice = brought.planned.plan.manifest, brought.session.choice
    return {
        "backup_id": manifest.backup_id,
        "repository": choice.repository,
        "manifest_sha256": choice.manifest_sha256,
        "bytes": sum(member.bytes for member in brought.planned.chain),
        "taken_at": to_iso(manifest.taken_at),
        "system_id": manifest.server.system_identifier,
        "major": manifest.server.version_num // 10000,
        "timeline": brought.planned.plan.timeline,
        "passed_over": list(brought.passed_over),
        "moment": found.target.argument(),
        "inclusive": found.target.inclusive,
        "uncompared": found.uncompared,
        "damaged": found.damaged,
        "observed_sha256": sha256,
        "reached": found.reached,
        "last_commit": to_iso(found.last_commit) if found.last_commit else None,
        "databases": list(found.databases),
        "missing": found.missing,
        "streamed": found.streamed,
        "expired": found.expired,
        "notes": list(brought.notes),
    }


def check_serving(this: Failover, checks: CheckSet) -> tuple[list[CheckResult], tuple[str, ...]]:
    """Ask every question of the server that now serves.

    Returns:
        The answers, and the names without which no verdict can be PASS.
    """
    database = _restored_database(this)
    required = tuple(checks.required(database))
    results = list(checks.ruled_out(database))
    with ThreadPoolExecutor(2, thread_name_prefix="check") as pool:
        for answers in pool.map(lambda name: checks.run(name, database), checks.names(database)):
            results += answers
    if this.journal.facts("recover").get("promoted"):
        results = [_newer(result) for result in results]
    return results, required


def _newer(result: CheckResult) -> CheckResult:
    """What only a comparison with a backup could answer is ruled out by a promotion."""
    if result.status is Status.SKIPPED and _PROMOTED in result.reason:
        return replace(result, status=Status.NOT_APPLICABLE, observed="", reason=_PROMOTED)
    return result


def _restored_database(this: Failover) -> RestoredDatabase:
    context, facts = this.context, this.journal.facts("recover")
    repository, backup_id = str(facts["repository"]), str(facts["backup_id"])
    manifest = context.catalog(repository).load(backup_id)
    settings = context.settings
    return RestoredDatabase(
        server=this.server.with_database(manifest.database),
        target=context.target,
        manifest=manifest,
        fingerprint=_fingerprint(context, repository, manifest),
        tools=find_tools(int(facts["major"]), settings.postgres.bindir),
        sandboxed=False,
        network=True,
        scope=context.scope,
        work=this.folder,
        earlier=_earlier(context, repository, manifest),
        recovered=_recovered(this, facts),
    )


def _recovered(this: Failover, facts: Mapping[str, Any]) -> Recovered:
    observed, uncompared = _observed(this, facts)
    last = facts["last_commit"]
    return Recovered(
        observed=observed,
        uncompared=uncompared,
        damaged=str(facts["damaged"]),
        target=_target(this, facts),
        reached=facts["reached"],
        last_commit=from_iso(last) if last else None,
        databases=tuple(facts["databases"]),
        missing=str(facts["missing"]),
        streamed=bool(facts["streamed"]),
        expired=bool(facts["expired"]),
    )


def _target(this: Failover, facts: Mapping[str, Any]) -> RecoveryTarget:
    text = str(facts["moment"])
    if text == "latest":
        return LATEST
    return parse_target(text, inclusive=bool(facts["inclusive"]), now=this.context.clock(), zone=UTC)


def _observed(this: Failover, facts: Mapping[str, Any]) -> tuple[Fingerprint | None, str]:
    """What was read at the cut; else why it is not there."""
    if facts.get("promoted"):
        return None, _PROMOTED
    wanted = str(facts["observed_sha256"])
    if not wanted:
        return None, str(facts["uncompared"])
    try:
        data = (this.folder / OBSERVED).read_bytes()
    except FileNotFoundError:
        return None, "the failover was resumed elsewhere, and what was read at the cut is not on this machine"
    if hashlib.sha256(data).hexdigest() != wanted:
        raise IntegrityError(
            f"{OBSERVED} is not what was read at the cut",
            op="check recovered server",
            hint=f"Remove {this.folder / OBSERVED}: the comparison then counts as not made.",
        )
    return Fingerprint.from_json(json.loads(data)), ""


def _fingerprint(context: Context, repository: str, manifest: Manifest) -> Fingerprint:
    stored = manifest.object(f"{FINGERPRINT}.zst{'.age' if manifest.encryption == 'age' else ''}")
    identities: Sequence[str] = ()
    if manifest.encryption == "age":
        identities = load_identities(context.settings.encryption, context.state_dir)
    with (
        context.catalog(repository).open_object(manifest.backup_id, stored.name) as source,
        unseal(source, stored, identities=identities) as plain,
    ):
        data = plain.read()
    if hashlib.sha256(data).hexdigest() != manifest.fingerprint.sha256:
        raise IntegrityError("the fingerprint is not the one the manifest names", op="fetch backup")
    return Fingerprint.from_json(json.loads(data))


def _earlier(context: Context, repository: str, manifest: Manifest) -> tuple[Manifest, ...]:
    """Manifests before this one, newest first."""
    found = [
        entry.manifest
        for entry in context.catalog(repository).backups()
        if entry.manifest is not None and entry.manifest.taken_at < manifest.taken_at
    ]
    return tuple(sorted(found, key=lambda each: each.taken_at, reverse=True)[:EARLIER])


def newest_backup(context: Context) -> tuple[str, Manifest, str]:
    """Repository, manifest and its digest of the newest base backup that can be read.

    Raises:
        NotFoundError: There is none.
    """
    for name in context.repositories:
        try:
            catalog = context.catalog(name)
            found = [e.manifest for e in catalog.backups() if e.manifest is not None and e.manifest.physical]
            if found:
                newest = max(found, key=lambda each: each.taken_at)
                return name, newest, hashlib.sha256(catalog.manifest_bytes(newest.backup_id)).hexdigest()
        except PraError as error:
            _log.warning("%s: %s", name, error.message)
    raise NotFoundError(
        f"no base backup of {context.target.name} can be read",
        op="choose backup",
        hint="The standby can still be promoted by hand; protect it at once.",
    )
