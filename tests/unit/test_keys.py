"""Keys: made once, never shown, rotated without losing what they vouched for."""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pra.errors import DecryptError, SettingsError, SignatureError, UsageError
from pra.keys import (
    Keyring,
    RepositoryAccess,
    Signer,
    key_sheet,
    load_identities,
    load_keyring,
    load_signer,
    make_keys,
    rotate_keys,
)
from pra.keysheet import BY_HAND
from pra.settings_model import Encryption, Signing
from pra.signing import TrustedKey, decode_base64, parse_public_key
from pra.storage.pipe import seal

T0 = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def state(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys")
    return tmp_path


def test_made_keys_are_private_and_reported(tmp_path: Path) -> None:
    report = make_keys(tmp_path / "keys")
    assert mode(tmp_path / "keys") == 0o700
    assert mode(report.identity_file) == mode(tmp_path / "keys" / "signing.key") == 0o600
    signer = load_signer(Signing(), tmp_path)
    assert (signer.public_key, signer.key_id) == (report.signing_public_key, report.key_id)
    assert report.recipient.startswith("age1")
    [identity] = load_identities(Encryption(), tmp_path)
    assert str(pyrage.x25519.Identity.from_str(identity).to_public()) == report.recipient


def test_umask_does_not_open_keys(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        report = make_keys(tmp_path / "keys")
    finally:
        os.umask(before)
    assert mode(report.identity_file) == 0o600


@pytest.mark.parametrize("survivor", ["identity.txt", "signing.key"])
def test_existing_key_is_never_overwritten(tmp_path: Path, survivor: str) -> None:
    make_keys(tmp_path / "keys")
    for path in (tmp_path / "keys").iterdir():
        if path.name != survivor:
            path.unlink()
    kept = (tmp_path / "keys" / survivor).read_text()
    with pytest.raises(UsageError, match="a key exists already"):
        make_keys(tmp_path / "keys")
    assert {p.name: p.read_text() for p in (tmp_path / "keys").iterdir()} == {survivor: kept}


@pytest.mark.skipif(shutil.which("age") is None, reason="the age command is not installed")
def test_age_itself_reads_the_identity_file(tmp_path: Path) -> None:
    report = make_keys(tmp_path / "keys")
    sealed = pyrage.encrypt(b"bytes", [pyrage.x25519.Recipient.from_str(report.recipient)])
    opened = subprocess.run(
        ["age", "-d", "-i", str(report.identity_file)],
        input=sealed,
        capture_output=True,
        check=True,
        timeout=20,
    )
    assert opened.stdout == b"bytes"


@pytest.mark.parametrize("alg", ["ed25519", "hmac-sha256"])
def test_both_algorithms_sign_and_verify(tmp_path: Path, alg: str) -> None:
    signing = Signing.model_validate({"alg": alg})
    make_keys(tmp_path / "keys", alg=signing.alg)
    signer, keyring = load_signer(signing, tmp_path), load_keyring(signing, tmp_path)
    keyring.verify(b"data", signer.alg, signer.key_id, signer.sign(b"data"))
    with pytest.raises(SignatureError, match="does not match the content"):
        keyring.verify(b"date", signer.alg, signer.key_id, signer.sign(b"data"))


def test_missing_signing_key_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_signer(Signing(), tmp_path)
    assert "pra key make" in caught.value.hint


def test_missing_identity_is_a_decrypt_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(DecryptError) as caught:
        load_identities(Encryption(), tmp_path)
    assert "recovery sheet" in caught.value.hint


def test_no_trusted_key_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no key is trusted"):
        load_keyring(Signing(), tmp_path)


@pytest.mark.parametrize("name", ["identity.txt", "signing.key"])
@pytest.mark.parametrize("open_mode", [0o644, 0o640, 0o660, 0o700])
def test_key_file_open_to_others_is_refused(tmp_path: Path, name: str, open_mode: int) -> None:
    root = state(tmp_path)
    (root / "keys" / name).chmod(open_mode)
    with pytest.raises(SettingsError, match=rf"mode {open_mode:04o}") as caught:
        load_identities(Encryption(), root) if name == "identity.txt" else load_signer(Signing(), root)
    assert "chmod 600" in caught.value.hint


def test_damaged_identity_is_refused_without_quoting_it(tmp_path: Path) -> None:
    root = state(tmp_path)
    path = root / "keys" / "identity.txt"
    secret = path.read_text().splitlines()[-1]
    path.write_text(secret[:-1] + "\n")
    with pytest.raises(SettingsError, match="no age identity") as caught:
        load_identities(Encryption(), root)
    assert "AGE-SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_algorithm_other_than_configured_is_refused(tmp_path: Path) -> None:
    root = state(tmp_path)
    with pytest.raises(SettingsError, match="holds a key for ed25519"):
        load_signer(Signing(alg="hmac-sha256"), root)


def test_private_key_shows_in_no_text(tmp_path: Path) -> None:
    for signer in (Signer("ed25519", b"\x07" * 32), Signer("hmac-sha256", b"\x07" * 32)):
        secret = base64.b64encode(b"\x07" * 32).decode()
        shown = f"{signer!r} {signer} {signer.trusted!r} {signer.trusted.text()} {signer.public_key}"
        assert secret not in shown
        assert r"\x07" not in shown


# -- rotation ------------------------------------------------------------------------------------


def test_rotated_key_vouches_for_what_came_before(tmp_path: Path) -> None:
    root = state(tmp_path)
    old = load_signer(Signing(), root)
    old_identity = load_identities(Encryption(), root)
    report = rotate_keys(root / "keys", clock=lambda: T0)
    keyring = load_keyring(Signing(), root)
    assert load_signer(Signing(), root).key_id == report.key_id != old.key_id
    keyring.verify(b"x", old.alg, old.key_id, old.sign(b"x"), at=T0 - HOUR)
    for late in (T0, T0 + HOUR, None):
        with pytest.raises(SignatureError, match=r"signed by a retired key, .* after its retirement"):
            keyring.verify(b"x", old.alg, old.key_id, old.sign(b"x"), at=late)
    identities = load_identities(Encryption(), root)
    assert identities[1:] == old_identity
    assert str(pyrage.x25519.Identity.from_str(identities[0]).to_public()) == report.recipient


def test_identities_come_newest_first_after_two_rotations(tmp_path: Path) -> None:
    root = state(tmp_path)
    seen = load_identities(Encryption(), root)
    for turn in range(2):
        rotate_keys(root / "keys", clock=lambda turn=turn: T0 + turn * HOUR)  # type: ignore[misc]
        seen.insert(0, load_identities(Encryption(), root)[0])
    assert load_identities(Encryption(), root) == seen
    assert len(set(seen)) == 3


def test_rotation_destroys_the_old_private_signing_key(tmp_path: Path) -> None:
    root = state(tmp_path)
    secret = load_signer(Signing(), root).secret_text().partition(":")[2]
    rotate_keys(root / "keys")
    assert all(secret not in path.read_text() for path in (root / "keys").rglob("*") if path.is_file())
    assert all(mode(path) == 0o600 for path in (root / "keys" / "retired").iterdir())


def test_rotated_hmac_key_still_verifies(tmp_path: Path) -> None:
    signing = Signing(alg="hmac-sha256")
    make_keys(tmp_path / "keys", alg="hmac-sha256")
    old = load_signer(signing, tmp_path)
    rotate_keys(tmp_path / "keys", clock=lambda: T0)
    load_keyring(signing, tmp_path).verify(b"x", old.alg, old.key_id, old.sign(b"x"), at=T0 - HOUR)


def test_interrupted_rotation_is_refused_then_finished(tmp_path: Path) -> None:
    root = state(tmp_path)
    keys = root / "keys"
    signing_file = (keys / "signing.key").read_text()
    rotate_keys(keys, clock=lambda: T0)
    (keys / "signing.key").write_text(signing_file)  # as if it died before the last step
    with pytest.raises(SettingsError, match="is retired") as caught:
        load_signer(Signing(), root)
    assert "pra key rotate" in caught.value.hint
    rotate_keys(keys, clock=lambda: T0 + HOUR)
    load_signer(Signing(), root)
    [retired] = [key for key in load_keyring(Signing(), root) if key.retired_at]
    assert retired.retired_at == T0  # the first attempt's moment
    assert len(load_identities(Encryption(), root)) == 3


def test_rotation_without_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no signing key"):
        rotate_keys(tmp_path / "keys")


# -- keyring -------------------------------------------------------------------------------------


def test_another_machines_public_key_is_trusted_when_listed(tmp_path: Path) -> None:
    other = Signer.generate()
    keyring = load_keyring(Signing(trusted=[other.public_key]), state(tmp_path))
    keyring.verify(b"x", other.alg, other.key_id, other.sign(b"x"))
    with pytest.raises(SignatureError, match="unknown key"):
        load_keyring(Signing(), tmp_path).verify(b"x", other.alg, other.key_id, other.sign(b"x"))


def test_retirement_anywhere_counts_even_if_listed_as_trusted() -> None:
    signer = Signer.generate()
    retired = parse_public_key(f"{signer.public_key} retired 2026-11-22T07:00:00.000000Z")
    for order in ([retired, signer.trusted], [signer.trusted, retired]):
        with pytest.raises(SignatureError, match="retired key"):
            Keyring(order).verify(b"x", signer.alg, signer.key_id, signer.sign(b"x"), at=T0)


def test_public_key_read_as_hmac_secret_does_not_verify() -> None:
    """The classic confusion: MAC a document with the victim's public key and call it HMAC."""
    victim = Signer.generate()
    forged = Signer("hmac-sha256", victim.trusted.material)
    with pytest.raises(SignatureError, match="is for ed25519"):
        Keyring([victim.trusted]).verify(b"x", "hmac-sha256", victim.key_id, forged.sign(b"x"))


@pytest.mark.parametrize(("key_id", "signature"), [("", "AAAA"), ("0" * 16, "")])
def test_unsigned_is_said_so(key_id: str, signature: str) -> None:
    with pytest.raises(SignatureError, match="not signed"):
        Keyring([]).verify(b"x", "ed25519", key_id, signature)


@given(st.binary(max_size=64), st.integers(0, 63), st.integers(1, 255))
def test_any_changed_signature_byte_is_refused(data: bytes, position: int, flip: int) -> None:
    signer = Signer("ed25519", b"\x01" * 32)
    raw = bytearray(base64.b64decode(signer.sign(data)))
    raw[position] ^= flip
    with pytest.raises(SignatureError):
        Keyring([signer.trusted]).verify(
            data, "ed25519", signer.key_id, base64.b64encode(bytes(raw)).decode()
        )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519:",
        "ed25519:AAAA",
        "rsa:AAAA",
        "ed25519:%%%",
        "hmac-sha256:AAAA",
        "ed25519:" + "A" * 44 + " old",
    ],
)
def test_malformed_trusted_key_is_a_settings_error(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_public_key(text)


@given(st.binary(min_size=32, max_size=32))
def test_public_key_text_round_trips(material: bytes) -> None:
    key = TrustedKey("ed25519", material)
    assert parse_public_key(key.text()) == key
    retired = TrustedKey("ed25519", material, T0)
    assert parse_public_key(retired.text()) == retired


@pytest.mark.parametrize("text", ["AB==", "A", "AA==\n", "é", "AA="])
def test_base64_has_one_form(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        decode_base64(text)


# -- recovery sheet ------------------------------------------------------------------------------


def sheet(**changed: object) -> str:
    arguments: dict[str, object] = {
        "identities": ["AGE-SECRET-KEY-1NEW", "AGE-SECRET-KEY-1OLD"],
        "public_keys": ["ed25519:abc="],
        "repositories": [
            RepositoryAccess("local", "file:///backups"),
            RepositoryAccess("offsite", "s3://dr/pra", "https://s3.example.com", "eu", "AKID"),
        ],
        "targets": ["akig"],
        "made_at": T0,
    }
    return key_sheet(**{**arguments, **changed})  # type: ignore[arg-type]


def test_sheet_holds_all_that_a_restore_needs() -> None:
    text = sheet()
    for needed in (
        "AGE-SECRET-KEY-1NEW", "AGE-SECRET-KEY-1OLD", "ed25519:abc=", "file:///backups", "s3://dr/pra",
        "https://s3.example.com", "AKID", "akig", "age -d -i identity.txt", "zstd -d", "tar -x", "pg_restore",
    ):  # fmt: skip
        assert needed in text


def test_sheet_puts_no_identity_elsewhere_on_a_host_that_knows_no_state() -> None:
    """On an empty host nothing has set ``PRA_STATE_DIR``: ``/keys`` is nobody's folder."""
    typed = [line.strip() for line in sheet().splitlines() if line.strip().startswith("install ")]
    assert len(typed) == 2
    for line in typed:
        done = subprocess.run(
            ["bash", "-c", f"install() {{ echo $*; }}; {line}"],
            env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert done.stdout == ""
        assert "PRA_STATE_DIR" in done.stderr


@pytest.mark.skipif(shutil.which("age") is None, reason="the age command is not installed")
def test_sheets_own_commands_open_what_we_seal(tmp_path: Path) -> None:
    report = make_keys(tmp_path / "keys")
    objects = tmp_path / "objects"
    objects.mkdir()
    for number in range(2):
        volume = io.BytesIO()
        with tarfile.open(fileobj=volume, mode="w") as archive:
            member = tarfile.TarInfo(f"{number}.dat")
            member.size = 3
            archive.addfile(member, io.BytesIO(b"row"))
        seal([volume.getvalue()], objects / f"dump-000{number}.tar.zst.age", recipients=[report.recipient])
    seal([b"CREATE ROLE x;"], objects / "globals.sql.zst.age", recipients=[report.recipient])
    shutil.copy(report.identity_file, objects / "identity.txt")
    for command in BY_HAND[:3]:
        assert command in sheet()
        subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=objects, check=True, timeout=20)
    assert {path.name: path.read_bytes() for path in (objects / "dump").iterdir()} == {
        "0.dat": b"row",
        "1.dat": b"row",
    }
    assert (objects / "globals.sql").read_bytes() == b"CREATE ROLE x;"


def test_new_host_reads_old_backups_with_what_the_sheet_says(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old = make_keys(tmp_path / "old" / "keys")
    signer = load_signer(Signing(), tmp_path / "old")
    make_keys(tmp_path / "new" / "keys")
    retired = tmp_path / "new" / "keys" / "retired"
    retired.mkdir(mode=0o700)
    shutil.copy(old.identity_file, retired / "identity-sheet.txt")
    assert load_identities(Encryption(), tmp_path / "old")[0] in load_identities(
        Encryption(), tmp_path / "new"
    )
    keyring = load_keyring(Signing(trusted=[old.signing_public_key]), tmp_path / "new")
    keyring.verify(b"x", signer.alg, signer.key_id, signer.sign(b"x"))


def test_sheet_is_translated_sentence_by_sentence() -> None:
    asked: list[str] = []

    def shout(text: str) -> str:
        asked.append(text)
        return text.upper() if "{" not in text else text

    text = sheet(translate=shout)
    assert "RESTORING BY HAND" in text
    assert "age -d -i identity.txt" in text  # commands are never translated
    assert all("AGE-SECRET" not in sentence for sentence in asked)
