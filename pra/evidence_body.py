"""What the records of verifications, restores, drills, failovers and key changes have in common.

Who did it, with which software, under which settings; and how it compares with the times before. Names,
counts, hashes and times only: no secret, and no value of any row.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import pwd
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import BaseModel, SecretStr

from pra.document import canonical
from pra.errors import PraError
from pra.evidence_record import EvidenceRecord
from pra.model import CheckResult, Status
from pra.settings import Settings, Target

BEFORE = 5
"""How many records of the same kind a new one is compared with."""
# Where things lie on this machine, and whom it tells: neither changes what a proof is worth.
_UNIMPORTANT = frozenset({"state_dir", "identity_file", "key_file", "alerts", "language"})
_log = logging.getLogger(__name__)


def common(
    settings: Settings, target: Target, *, postgres: str | None = None, operator: str = ""
) -> dict[str, Any]:
    """The part that every record has: id, operator, versions, hash of the configuration.

    Args:
        postgres: Version of the PostgreSQL programs that were used; None where none was.
        operator: Who is behind it where that is not simply this account, such as a Prefect run.
    """
    return {
        "id": uuid.uuid4().hex,
        "operator": operator or account_and_host(),
        "versions": {"pra": version("pra"), "postgres": postgres, "python": platform.python_version()},
        "configuration_sha256": configuration_sha256(settings, target),
    }


def account_and_host() -> str:
    """``account@host`` of this process."""
    return f"{account()}@{socket.gethostname()}"


def account() -> str:
    """The name of the account that this process runs as; its number where it has none, as in a container."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def configuration_sha256(settings: Settings, target: Target) -> str:
    """SHA-256 of the settings that matter for one target, in canonical JSON; secrets are left out.

    Equal digests mean the same objectives, checks, repositories, retention, recipients and trusted keys.
    """
    chosen = {
        "target": target,
        "repositories": settings.repositories_of(target),
        "retention": settings.retention,
        "encryption": settings.encryption,
        "signing": settings.signing,
        "postgres": settings.postgres,
        "sandbox": settings.sandbox,
    }
    return hashlib.sha256(canonical(_plain(chosen), floats=True)).hexdigest()


def _plain(value: Any) -> Any:
    """As JSON has it. A secret is as if there were none: whether there is one is nobody's business either."""
    if isinstance(value, SecretStr):
        return None
    if isinstance(value, BaseModel):
        return _plain({name: getattr(value, name) for name in type(value).model_fields})
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items() if name not in _UNIMPORTANT}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value) if isinstance(value, Path) else value


def deviations(checks: Sequence[CheckResult]) -> list[str]:
    """What was not asked: skipped, or ruled out beforehand; one line each."""
    left_out = (Status.SKIPPED, Status.NOT_APPLICABLE)
    return [f"{c.name} {c.status}: {c.reason or c.observed}" for c in checks if c.status in left_out]


def findings(checks: Sequence[CheckResult]) -> list[str]:
    """What was answered wrongly; one line each."""
    return [
        f"{c.name}: expected {c.expected or '?'}; observed {c.observed or c.reason or '?'}"
        for c in checks
        if c.status is Status.FAILED
    ]


def comparison(
    records: Iterable[EvidenceRecord], kind: str, measured: Mapping[str, int | None]
) -> dict[str, Any] | None:
    """One measurement beside the median of the same kind before it; None where there was none before.

    Args:
        records: Newest first; read only until five of the kind were found.
        measured: Milliseconds by the name they have in such a record, as ``rto_milliseconds``.

    Returns:
        The numbers of the records, and for each name ``median`` and ``ratio`` (1 is the same as before).
    """
    before = list(islice(_alike(records, kind), BEFORE))
    if not before:
        return None
    return {"records": [record.sequence for record in before]} | {
        name: _beside(now, [record.body.get(name) for record in before]) for name, now in measured.items()
    }


def _alike(records: Iterable[EvidenceRecord], kind: str) -> Iterator[EvidenceRecord]:
    for record in records:
        if record.unread:
            _log.warning("not compared with evidence %d: %s", record.sequence, record.problem)
        elif not record.problem and record.kind == kind:
            yield record


def _beside(now: int | None, before: Sequence[object]) -> dict[str, Any] | None:
    known = [each for each in before if isinstance(each, int)]
    if not known:
        return None
    middle = round(median(known))
    return {"median": middle, "ratio": round(now / middle, 3) if now is not None and middle else None}


def compare_with(
    records: Iterable[EvidenceRecord], kind: str, measured: Mapping[str, int | None]
) -> dict[str, Any] | None:
    """`comparison`, which must not cost a finished proof its record: what cannot be read is not compared."""
    try:
        return comparison(records, kind, measured)
    except PraError as error:
        _log.warning("not compared with earlier records: %s", error.message)
        return None
