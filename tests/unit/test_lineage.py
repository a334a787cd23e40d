"""The manifest that an incremental backup refers to: shorter, and still one that PostgreSQL believes."""

from __future__ import annotations

import hashlib
import json

import pytest

from pra.engines.lineage import BackupFacts, lineage_of, read_backup_manifest
from pra.errors import IntegrityError
from pra.postgres.replication import covers


def made(body: str) -> bytes:
    """With PostgreSQL's last line: the SHA-256 of all before it."""
    data = body.encode()
    return data + f'"Manifest-Checksum": "{hashlib.sha256(data).hexdigest()}"}}\n'.encode()


RANGE = '{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000120" }'
BODY = f"""\
{{ "PostgreSQL-Backup-Manifest-Version": 2,
"System-Identifier": 7710966572446080729,
"Files": [
{{ "Path": "base/5/1259", "Size": 8192, "Last-Modified": "2026-11-22 12:08:30 GMT", \
"Checksum-Algorithm": "CRC32C", "Checksum": "3c6d21e8" }},
{{ "Encoded-Path": "62617365ff", "Size": 3, "Last-Modified": "2026-11-22 12:08:30 GMT" }}
],
"WAL-Ranges": [
{RANGE}
],
"""


def test_what_a_manifest_says() -> None:
    assert read_backup_manifest(made(BODY)) == BackupFacts(
        "7710966572446080729", 1, 0x2000028, 0x2000120, 2, 8195
    )


def test_before_17_it_names_no_system() -> None:
    older = BODY.replace('"System-Identifier": 7710966572446080729,\n', "").replace(": 2,", ": 1,", 1)
    assert read_backup_manifest(made(older)).system_identifier == ""
    assert "System-Identifier" not in lineage_of(made(older)).decode()


def test_a_lineage_has_names_and_sizes_and_a_checksum_of_its_own() -> None:
    short = lineage_of(made(BODY))
    assert read_backup_manifest(short) == read_backup_manifest(made(BODY))
    assert json.loads(short)["Files"] == [
        {"Path": "base/5/1259", "Size": 8192},
        {"Encoded-Path": "62617365ff", "Size": 3},
    ]


DAMAGE = {
    "a size changed": made(BODY).replace(b"8192", b"8193"),
    "cut short": made(BODY)[:-40],
    "not JSON": b"no manifest\n",
    "empty": b"",
    "two timelines": made(BODY.replace(RANGE, f"{RANGE},\n{RANGE}")),
    "no WAL": made(BODY.replace("WAL-Ranges", "Other")),
}


@pytest.mark.parametrize("data", DAMAGE.values(), ids=DAMAGE)
def test_a_manifest_that_cannot_be_believed_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        read_backup_manifest(data)


@pytest.mark.parametrize(
    ("ranges", "start", "until", "expected"),
    [
        pytest.param([(0, 10), (10, 20)], 5, 20, True, id="two that meet"),
        pytest.param([(0, 10), (12, 20)], 5, 20, False, id="a gap"),
        pytest.param([(6, 20)], 5, 20, False, id="begins too late"),
        pytest.param([(0, 10)], 5, 20, False, id="ends too early"),
        pytest.param([(0, 30), (10, 20)], 5, 30, True, id="one inside another"),
        pytest.param([], 5, 5, True, id="nothing to cover"),
    ],
)
def test_whether_summaries_leave_nothing_out(
    ranges: list[tuple[int, int]], start: int, until: int, expected: bool
) -> None:
    assert covers(ranges, start, until) is expected
