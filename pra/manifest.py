"""The manifest: what one backup is, signed. Once it lies in a repository, the backup exists there.

It is stored unencrypted, so it holds names, counts, sizes and times only: never a value from the database.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    model_validator,
)

from pra.document import parse, sign_document, verify_document
from pra.errors import IntegrityError
from pra.keys import Keyring, Signer
from pra.layout import OBJECT_NAME
from pra.model import BACKUP_ID, NAME, Engine, Kind, StoredObject
from pra.postgres.wal import parse_lsn
from pra.timing import from_iso, to_iso

SCHEMA = "pra/manifest/1"
_WHAT = "manifest"


def _moment(value: object) -> object:
    if not isinstance(value, str):
        return value
    moment = from_iso(value)
    if to_iso(moment) != value:
        raise ValueError("a moment in another form than we write")
    return moment


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return value.astimezone(UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    AfterValidator(_utc),
    PlainSerializer(to_iso, return_type=str),
]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
BackupId = Annotated[str, StringConstraints(pattern=f"^{BACKUP_ID.pattern}$")]


class _Frozen(BaseModel):
    # Unknown fields are left alone: a later release may add some within the same schema, and the signature
    # is checked over the document as stored, not over this model.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)


class ServerFacts(_Frozen):
    """The server a backup was taken from. ``version_num`` as in ``server_version_num``: 180001."""

    version_num: int
    version: str
    system_identifier: str
    encoding: str
    collate: str
    ctype: str
    locale_provider: str
    icu_locale: str | None = None
    bootstrap_role: str
    data_checksums: bool
    database_bytes: Count


class TableCount(_Frozen):
    """One table's exact rows in the snapshot, and its size on production's disk."""

    name: str
    rows: Count
    bytes: Count


class FingerprintRef(_Frozen):
    """Points at the fingerprint object. ``sha256`` is of the plaintext document.

    ``depth`` ``none``: definitions and sequences only, no table was read.
    """

    depth: Literal["digest", "counts", "none"]
    sha256: Sha256
    tables: Count
    rows: Count


class Extension(_Frozen):
    name: str
    version: str


class Tablespace(_Frozen):
    """A tablespace outside the data directory, and where it lay on the server."""

    oid: Count
    location: str


class WalSegment(_Frozen):
    """A WAL segment without which the backup cannot be restored; ``sha256`` is of its plaintext."""

    name: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{24}$")]
    sha256: Sha256


class PhysicalFacts(_Frozen):
    """What a base backup is.

    Attributes:
        timeline: On which it was taken.
        start_lsn, stop_lsn: As ``0/16B3748``: recovery begins at the first and is consistent from the second.
        wal: Every segment from start to stop: in a repository before the manifest is.
        wal_segment_bytes: Size of a segment on that server.
        tablespaces: Those outside the data directory.
        databases: Every database of the server that allows connections.
        snapshot_lsn: The WAL's end just before the fingerprint's snapshot; empty where nobody asked.
        lineage: The object that the next incremental backup refers to: PostgreSQL's ``backup_manifest``
            without the files' checksums, compressed and not encrypted, so that whoever only writes backups
            can read it.
        full_reason: Why it is a full backup.
    """

    timeline: Annotated[int, Field(ge=1)]
    start_lsn: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{1,8}/[0-9A-F]{1,8}$")]
    stop_lsn: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{1,8}/[0-9A-F]{1,8}$")]
    wal: tuple[WalSegment, ...]
    wal_segment_bytes: Annotated[int, Field(ge=1 << 20)]
    tablespaces: tuple[Tablespace, ...] = ()
    databases: tuple[str, ...] = ()
    lineage: str
    snapshot_lsn: Annotated[str, StringConstraints(pattern=r"^([0-9A-F]{1,8}/[0-9A-F]{1,8})?$")] = ""
    full_reason: str = ""

    @property
    def start(self) -> int:
        return parse_lsn(self.start_lsn)

    @property
    def stop(self) -> int:
        return parse_lsn(self.stop_lsn)


class EvidenceHead(_Frozen):
    """The newest record of evidence that was known when a backup was made; ``sha256`` is of its bytes."""

    sequence: Annotated[int, Field(ge=1)]
    sha256: Sha256


class Manifest(_Frozen):
    """One backup.

    Attributes:
        taken_at: The snapshot: what this backup brings back is the database as it was then.
        read_finished_at: Production was released.
        snapshot: ``pg_current_snapshot()`` as text.
        parents: Backups this one cannot be restored without: the whole chain, its full backup first.
        physical: What a base backup is; None for a logical backup.
        gaps: What the role could not see, each named; empty for a complete backup.
        tools: The version of the tool that read the database.
        previous: The backup before, for continuity.
        evidence_head: Against it a cut tail of the evidence shows; None where there was none, or none was
            read, and in manifests of releases that did not write it.
    """

    schema_: Literal["pra/manifest/1"] = Field(default="pra/manifest/1", alias="schema")
    target: Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
    backup_id: BackupId
    engine: Engine
    kind: Kind
    database: str
    started_at: Moment
    taken_at: Moment
    read_finished_at: Moment
    finished_at: Moment
    server: ServerFacts
    snapshot: str
    objects: tuple[StoredObject, ...]
    parents: tuple[BackupId, ...] = ()
    physical: PhysicalFacts | None = None
    tables: tuple[TableCount, ...] = ()
    fingerprint: FingerprintRef
    gaps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    extensions: tuple[Extension, ...] = ()
    roles: tuple[str, ...] = ()
    encryption: Literal["age", "none"]
    recipients: tuple[str, ...] = ()
    tools: str
    previous: BackupId | None = None
    evidence_head: EvidenceHead | None = None
    key_id: str = ""
    alg: str = ""
    signature: str = ""

    @model_validator(mode="after")
    def _objects_are_sound(self) -> Self:
        names = [stored.name for stored in self.objects]
        if not names or len(names) != len(set(names)):
            raise ValueError("no object, or one named twice")
        for stored in self.objects:
            sizes = (stored.bytes, stored.plain_bytes)
            digests = (stored.sha256, stored.plain_sha256)
            if not OBJECT_NAME.fullmatch(stored.name) or min(sizes) < 0 or not all(map(_is_digest, digests)):
                raise ValueError("an object without a sound name, size or digest")
        if (self.kind == "incremental") != bool(self.parents):
            raise ValueError("an incremental backup has parents, a full one has none")
        if (self.engine == "physical") != (self.physical is not None):
            raise ValueError("a physical backup has physical facts, a logical one has none")
        return self

    @property
    def bytes(self) -> int:
        """Size in the repository, manifest apart."""
        return sum(stored.bytes for stored in self.objects)

    def object(self, name: str) -> StoredObject:
        """Raises IntegrityError when the manifest names no such object."""
        for stored in self.objects:
            if stored.name == name:
                return stored
        raise IntegrityError(f"the manifest of {self.backup_id} names no object {name!r}", op="read manifest")


def sign(manifest: Manifest, signer: Signer) -> bytes:
    """The bytes to store: canonical JSON with ``key_id``, ``alg`` and ``signature``."""
    return sign_document(manifest.model_dump(mode="json", by_alias=True), signer)


def read(
    data: bytes,
    keyring: Keyring,
    *,
    target: str | None = None,
    backup_id: str | None = None,
    accept_unverified: bool = False,
) -> Manifest:
    """Read a stored manifest: signature first, meaning afterwards.

    Args:
        target, backup_id: What the key it was found under says; the manifest must agree.
        accept_unverified: Skip the signature, nothing else. The caller has asked a person and records it.

    Raises:
        SignatureError: Unsigned, wrong signature, unknown key, or signed after the key's retirement.
        IntegrityError: Not a manifest, of another schema, or moved here from another target or backup.
    """
    document = parse(data, what=_WHAT)
    schema = document.get("schema")
    if schema != SCHEMA:
        raise IntegrityError(
            f"manifest has schema {str(schema)[:40]!r}, this release reads {SCHEMA!r}",
            op="read manifest",
            hint="It was written by a newer release: upgrade this one.",
        )
    if not accept_unverified:
        verify_document(data, document, keyring, what=_WHAT, at=_signed_at(document.get("finished_at")))
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "objects"
        raise IntegrityError(f"manifest has no sound {where}", op="read manifest") from error
    for name, expected, found in (
        ("target", target, manifest.target),
        ("backup", backup_id, manifest.backup_id),
    ):
        if expected is not None and found != expected:
            raise IntegrityError(
                f"the manifest of {name} {expected} belongs to {name} {found}",
                op="read manifest",
                hint="Somebody moved it; use another repository's copy.",
            )
    return manifest


def _signed_at(value: object) -> datetime | None:
    try:
        return from_iso(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
