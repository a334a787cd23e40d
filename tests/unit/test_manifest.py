"""Manifests: the intact one is read; every way to alter one is refused with its own complaint."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pra.document import canonical, parse, sign_document
from pra.errors import IntegrityError, SignatureError
from pra.keys import Keyring, Signer
from pra.manifest import Manifest, read, sign
from tests.fix_record import BACKUP_ID, TAKEN, make_manifest, stored

SIGNER = Signer("ed25519", bytes(range(32)))
KEYRING = Keyring([SIGNER.trusted])
INTACT = sign(make_manifest(), SIGNER)


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(INTACT)
    return loaded


def test_intact_manifest_reads_back_as_written() -> None:
    manifest = read(INTACT, KEYRING, target="akig", backup_id=BACKUP_ID)
    unsigned = manifest.model_copy(update={"key_id": "", "alg": "", "signature": ""})
    assert unsigned == make_manifest()
    assert (manifest.key_id, manifest.alg) == (SIGNER.key_id, "ed25519")
    assert sign(manifest, SIGNER) == INTACT  # signing again is harmless: Ed25519 is deterministic


def test_stored_form_is_canonical() -> None:
    text = INTACT.decode()
    assert list(document()) == sorted(document())
    assert '"schema":"pra/manifest/1"' in text
    assert "Été" in text
    assert '"taken_at":"2026-11-22T07:09:55.000000Z"' in text
    assert canonical(parse(INTACT, what="manifest")) == INTACT


def test_size_is_that_of_the_objects() -> None:
    manifest = make_manifest(objects=(stored("a", b"12"), stored("b", b"345")))
    assert manifest.bytes == 5
    assert manifest.object("b").bytes == 3
    with pytest.raises(IntegrityError, match="names no object 'c'"):
        manifest.object("c")


def altered(**changed: Any) -> bytes:
    """The fields changed, the signature left as it was."""
    return canonical({**document(), **changed})


def resigned(**changed: Any) -> bytes:
    return sign_document({**document(), **changed}, SIGNER)


def without(name: str) -> bytes:
    return canonical({key: value for key, value in document().items() if key != name})


Bad, Sig = IntegrityError, SignatureError
MUTATIONS: list[tuple[str, Callable[[], bytes], type[IntegrityError], str]] = [
    ("one digit of a size", lambda: INTACT.replace(b'"bytes":4,', b'"bytes":5,'), Sig, "does not match"),
    ("a table's rows", lambda: INTACT.replace(b'"rows":3', b'"rows":2'), Sig, "does not match"),
    ("a gap removed", lambda: altered(gaps=["x"]), Sig, "does not match"),
    ("a field added", lambda: altered(extra=1), Sig, "does not match"),
    ("whitespace added", lambda: INTACT.replace(b'"alg":', b'"alg": '), Bad, "canonical form"),
    ("a newline appended", lambda: INTACT + b"\n", Bad, "canonical form"),
    ("an escape for a letter", lambda: INTACT.replace("É".encode(), b"\\u00c9"), Bad, "canonical form"),
    ("a key given twice", lambda: INTACT[:-1] + b',"target":"akig"}', Bad, "not readable JSON"),
    ("truncated", lambda: INTACT[:-20], Bad, "not readable JSON"),
    ("empty", lambda: b"", Bad, "not readable JSON"),
    ("not UTF-8", lambda: INTACT.replace("É".encode(), b"\xc9"), Bad, "not readable JSON"),
    ("nested beyond reason", lambda: b"[" * 200_000, Bad, "not readable JSON"),
    ("a list", lambda: b"[]", Bad, "not a JSON object"),
    ("NaN", lambda: INTACT.replace(b'"rows":3', b'"rows":NaN'), Bad, "not readable JSON"),
    ("a fraction", lambda: INTACT.replace(b'"rows":3', b'"rows":3.0'), Bad, "fraction"),
    ("a lone surrogate", lambda: INTACT.replace("É".encode(), b"\\ud800"), Bad, "canonical"),
    ("unsigned", lambda: without("signature"), Sig, "not signed"),
    ("signature emptied", lambda: altered(signature=""), Sig, "not signed"),
    ("signature not text", lambda: altered(signature=[1]), Sig, "not signed"),
    ("signature of another document", lambda: altered(signature=SIGNER.sign(b"x")), Sig, "not match"),
    ("key id removed", lambda: without("key_id"), Sig, "not signed"),
    ("unknown key", lambda: sign(make_manifest(), Signer("ed25519", b"\x09" * 32)), Sig, "unknown key"),
    ("another algorithm named", lambda: altered(alg="hmac-sha256"), Sig, "is for ed25519"),
    ("newer schema", lambda: resigned(schema="pra/manifest/2"), Bad, "this release reads"),
    ("no schema", lambda: without("schema"), Bad, "this release reads"),
    ("evidence in its place", lambda: resigned(schema="pra/evidence/1"), Bad, "this release reads"),
    ("another target's", lambda: resigned(target="other"), Bad, "belongs to target other"),
    (
        "another backup's",
        lambda: resigned(backup_id="20261122T080955Z-full-0000"),
        Bad,
        "belongs to backup 20261122T080955Z-full-0000",
    ),
    ("a field missing though signed", lambda: resigned(server=None), Bad, "no sound server"),
    ("a number as text though signed", lambda: resigned(fingerprint=1), Bad, "no sound fingerprint"),
    ("a local moment though signed", lambda: resigned(taken_at="2026-11-22T07:09:55"), Bad, "taken_at"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "error", "complaint"), [m[1:] for m in MUTATIONS], ids=[m[0] for m in MUTATIONS]
)
def test_mutation_is_caught(damage: Callable[[], bytes], error: type[IntegrityError], complaint: str) -> None:
    data = damage()
    assert data != INTACT
    with pytest.raises(IntegrityError, match=complaint) as caught:
        read(data, KEYRING, target="akig", backup_id=BACKUP_ID)
    assert type(caught.value) is error


@settings(max_examples=300)
@given(st.integers(0, len(INTACT) - 1), st.integers(1, 255))
def test_any_altered_byte_is_caught(position: int, flip: int) -> None:
    data = bytearray(INTACT)
    data[position] ^= flip
    with pytest.raises(IntegrityError):
        read(bytes(data), KEYRING, target="akig", backup_id=BACKUP_ID)


def test_retired_key_vouches_only_for_earlier_backups() -> None:
    finished = make_manifest().finished_at
    retired_after = Keyring([replace(SIGNER.trusted, retired_at=finished + timedelta(seconds=1))])
    read(INTACT, retired_after)
    retired_before = Keyring([replace(SIGNER.trusted, retired_at=finished)])
    with pytest.raises(SignatureError, match=r"manifest: signed by a retired key, .* after its retirement"):
        read(INTACT, retired_before)


@pytest.mark.parametrize("finished_at", ["yesterday", None, 7])
def test_retired_key_with_unreadable_moment_is_refused(finished_at: object) -> None:
    keyring = Keyring([replace(SIGNER.trusted, retired_at=TAKEN + timedelta(days=900))])
    with pytest.raises(SignatureError, match="retired key"):
        read(resigned(finished_at=finished_at), keyring)


def test_unknown_fields_of_a_later_release_keep_the_signature_valid() -> None:
    data = resigned(wal={"start": "0/1"}, server={**document()["server"], "region": "eu"})
    assert read(data, KEYRING).server == make_manifest().server
    with pytest.raises(SignatureError):
        read(data.replace(b'"0/1"', b'"0/2"'), KEYRING)


def test_accept_unverified_skips_the_signature_and_nothing_else() -> None:
    data = altered(signature="")
    assert read(data, Keyring([]), accept_unverified=True).target == "akig"
    with pytest.raises(IntegrityError, match="belongs to target akig"):
        read(data, Keyring([]), target="other", accept_unverified=True)
    with pytest.raises(IntegrityError, match="no sound objects"):
        read(altered(objects=[]), Keyring([]), accept_unverified=True)


@pytest.mark.parametrize("name", ["../etc", "a/b", ".hidden", "", "x" * 300, "a\nb", "-rf"])
def test_object_name_that_could_leave_its_directory_is_refused(name: str) -> None:
    data = resigned(objects=[{**document()["objects"][0], "name": name}])
    with pytest.raises(IntegrityError):
        read(data, KEYRING)


@pytest.mark.parametrize(
    "change",
    [
        {"objects": ()},
        {"objects": (stored("a", b""), stored("a", b"x"))},
        {"objects": (replace(stored("a", b""), sha256="A" * 64),)},
        {"objects": (replace(stored("a", b""), bytes=-1),)},
        {"kind": "incremental"},
        {"parents": ("20261122T060955Z-full-0000",)},
        {"parents": ("no id",)},
        {"target": "No"},
        {"taken_at": TAKEN.replace(tzinfo=None)},
    ],
)
def test_unsound_manifest_cannot_even_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Manifest"):
        make_manifest(**change)


@settings(max_examples=60)
@given(
    st.dictionaries(st.text(), st.recursive(st.integers() | st.text() | st.booleans() | st.none(), st.lists))
)
def test_canonical_form_is_stable_and_unique(value: dict[str, Any]) -> None:
    try:
        data = canonical(value)
    except IntegrityError:
        assert any("\ud800" <= c <= "\udfff" for c in json.dumps(value, ensure_ascii=False))
        return
    assert parse(data, what="document") == value
    assert canonical(dict(reversed(value.items()))) == data


def test_model_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Manifest.__setattr__(make_manifest(), "target", "other")
