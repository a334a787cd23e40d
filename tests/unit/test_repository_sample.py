"""What a released version wrote stays readable: the manifests, objects and evidence in `tests/data`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pra.catalog import Catalog
from pra.document import canonical
from pra.errors import DecryptError, IntegrityError, SignatureError
from pra.evidence import EvidenceLog
from pra.keys import Keyring, Signer
from pra.model import Verdict
from pra.signing import parse_public_key
from pra.storage.local import LocalStorage
from pra.storage.pipe import unseal, verify_stored

SAMPLES = sorted((Path(__file__).parents[1] / "data").glob("repository-v*"))


@pytest.fixture(params=SAMPLES, ids=[path.name for path in SAMPLES])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> LocalStorage:
    """A copy, so that nothing can write into the stored one."""
    shutil.copytree(request.param, tmp_path / "sample")
    return LocalStorage("sample", tmp_path / "sample")


@pytest.fixture
def trusted(sample: LocalStorage) -> Keyring:
    return Keyring([parse_public_key((sample.root / "trusted.txt").read_text())])


def test_there_is_a_sample() -> None:
    assert [path.name for path in SAMPLES] == ["repository-v1"]


def test_backups_are_listed_and_every_object_is_whole(sample: LocalStorage, trusted: Keyring) -> None:
    catalog = Catalog(sample, "akig", trusted)
    entries = catalog.backups()
    assert [entry.error for entry in entries] == [None, None]
    manifests = [entry.manifest for entry in entries if entry.manifest]
    assert [m.encryption for m in manifests] == ["age", "none"]
    assert manifests[0].previous == manifests[1].backup_id
    for manifest in manifests:
        assert {t.name: t.rows for t in manifest.tables} == {"public.payment": 3, "public.tenant": 2}
        for stored in manifest.objects:
            with catalog.open_object(manifest.backup_id, stored.name) as source:
                verify_stored(source, stored)


def test_plain_backup_opens_and_the_encrypted_one_does_not(sample: LocalStorage, trusted: Keyring) -> None:
    catalog = Catalog(sample, "akig", trusted)
    encrypted, plain = (entry.manifest for entry in catalog.backups())
    assert plain is not None
    assert encrypted is not None
    for stored in plain.objects:
        with (
            catalog.open_object(plain.backup_id, stored.name) as raw,
            unseal(raw, stored, identities=[]) as text,
        ):
            data = text.read()
        assert len(data) == stored.plain_bytes
        if stored.name.startswith("fingerprint"):
            assert json.loads(data)["schema"]
    for stored in encrypted.objects:
        with (
            pytest.raises(DecryptError),
            catalog.open_object(encrypted.backup_id, stored.name) as raw,
            unseal(raw, stored, identities=[]) as text,
        ):
            text.read()


def test_evidence_is_believed(sample: LocalStorage, trusted: Keyring) -> None:
    log = EvidenceLog([sample], "akig", None, trusted)
    [record] = log.records()
    assert (record.problem, record.sequence, record.kind) == ("", 1, "verification")
    [(backup_id, proof)] = log.proofs().items()
    assert proof.verdict is Verdict.PASS
    assert Catalog(sample, "akig", trusted).load(backup_id).encryption == "none"


def test_nobody_else_is_trusted_with_it(sample: LocalStorage) -> None:
    stranger = Keyring([Signer.generate().trusted])
    errors = [entry.error for entry in Catalog(sample, "akig", stranger).backups()]
    assert [type(error) for error in errors] == [SignatureError, SignatureError]
    assert EvidenceLog([sample], "akig", None, stranger).proofs() == {}


def test_newer_schema_asks_for_an_upgrade(sample: LocalStorage, trusted: Keyring) -> None:
    catalog = Catalog(sample, "akig", trusted)
    newest = catalog.backups()[0].backup_id
    path = sample.root / f"akig/backups/{newest}/manifest.json"
    document = json.loads(path.read_bytes())
    path.write_bytes(canonical({**document, "schema": "pra/manifest/2"}))
    with pytest.raises(IntegrityError, match="this release reads 'pra/manifest/1'") as caught:
        catalog.load(newest)
    assert "upgrade" in caught.value.hint
