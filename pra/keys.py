"""Key files: the age identity and the signing key, made, rotated and loaded.

::

    keys/                 0700
      identity.txt        0600  age identity, as age-keygen writes it: ``age -d -i`` reads it
      signing.key         0600  private signing key
      retired/            0700
        identity-<moment>.txt   old identities: old backups still need them
        <key id>.json           old public keys, with the moment they were retired

A rotation destroys the old private signing key: nothing needs it any more. (An HMAC key verifies with the
secret it signs with, so a retired one is kept.)
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyrage

from pra.errors import DecryptError, SettingsError, UsageError
from pra.keysheet import RepositoryAccess, key_sheet
from pra.settings_model import Encryption, Signing
from pra.signing import ALGS, Alg, Keyring, Signer, TrustedKey, decode_base64, parse_public_key
from pra.timing import Clock, from_iso, to_iso, utc_now

__all__ = [
    "KeyReport",
    "Keyring",
    "RepositoryAccess",
    "Signer",
    "key_sheet",
    "load_approver_key",
    "load_identities",
    "load_keyring",
    "load_signer",
    "make_approver_key",
    "make_keys",
    "rotate_keys",
]

IDENTITY_FILE = "identity.txt"
SIGNING_FILE = "signing.key"
RETIRED = "retired"
_MAKE = "Make keys with: pra key make"
_LARGEST_KEY_FILE = 1 << 20


@dataclass(frozen=True)
class KeyReport:
    """What may be shown of a fresh pair of keys.

    Attributes:
        recipient: ``age1…``, for ``[encryption] recipients``.
        identity_file: Where the age identity lies. Without it no backup can be read.
        signing_public_key: ``ed25519:<base64>``, for other machines' ``signing.trusted``; empty for HMAC.
        key_id: 16 hex digits that name the signing key in what it signs.
        replaces: The public key that was in use until now, with the moment of its retirement (of an HMAC key
            its id alone); empty for the first.
    """

    recipient: str
    identity_file: Path
    signing_public_key: str
    key_id: str
    replaces: str = ""


def make_keys(
    directory: Path, *, alg: Alg = "ed25519", keep_identity: bool = False, clock: Clock = utc_now
) -> KeyReport:
    """Write a new age identity and a new signing key.

    Args:
        keep_identity: An identity that is there is taken as it is: of an attempt that died between the two.

    Raises:
        UsageError: A key is there already; it is never overwritten. Or the directory cannot be used.
        SettingsError: The identity that is to be kept cannot be read.
    """
    if alg not in ALGS:
        raise UsageError(f"unknown signing algorithm {alg!r}", op="make keys", hint=f"One of {ALGS}.")
    _private_directory(directory)
    identity_file, signing_file = directory / IDENTITY_FILE, directory / SIGNING_FILE
    kept = keep_identity and identity_file.exists()
    for path in (identity_file, signing_file):
        if path.exists() and not (kept and path == identity_file):
            raise UsageError(
                f"a key exists already: {path}",
                op="make keys",
                hint="Keep it: backups need it. To replace both keys: pra key rotate",
            )
    signer = Signer.generate(alg)
    if kept:
        identity = pyrage.x25519.Identity.from_str(_identities_in(identity_file)[0])
    else:
        identity = pyrage.x25519.Identity.generate()
        _write_private(identity_file, _identity_text(identity, clock()))
    _write_private(signing_file, _signing_text(signer, clock()))
    return KeyReport(str(identity.to_public()), identity_file, signer.public_key, signer.key_id)


def rotate_keys(directory: Path, *, clock: Clock = utc_now) -> KeyReport:
    """Replace both keys; what the old ones signed or encrypted before stays readable.

    The order survives a crash: nothing old is replaced before it has been set aside, and a signing key that
    was set aside but not yet replaced is refused by ``load_signer`` until the rotation is run again.

    Raises:
        SettingsError: There are no keys to rotate.
    """
    identity_file, signing_file = directory / IDENTITY_FILE, directory / SIGNING_FILE
    old = _read_signer(signing_file)
    now = clock()
    retired = directory / RETIRED
    _private_directory(retired)
    _replace_private(retired / f"identity-{now:%Y%m%dT%H%M%S%fZ}.txt", _read_private(identity_file))
    identity, signer = pyrage.x25519.Identity.generate(), Signer.generate(old.alg)
    _replace_private(identity_file, _identity_text(identity, now))
    record = retired / f"{old.key_id}.json"
    if not record.exists():  # a second attempt keeps the first attempt's moment
        _replace_private(record, _retired_text(old, now))
    replaces = _read_retired(record).text()
    _replace_private(signing_file, _signing_text(signer, now))
    return KeyReport(str(identity.to_public()), identity_file, signer.public_key, signer.key_id, replaces)


def make_approver_key(path: Path, *, clock: Clock = utc_now) -> Signer:
    """Write the key of a person who approves failovers: Ed25519, 0600, never where a key lies already.

    Raises:
        UsageError: One is there, or the folder cannot be used.
    """
    if path.exists():
        raise UsageError(
            f"a key exists already: {path}", op="make approver key", hint="Name another --key-file."
        )
    if not path.parent.is_dir():
        _private_directory(path.parent)
    signer = Signer.generate("ed25519")
    try:
        _write_private(path, _signing_text(signer, clock()))
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", op="make approver key", hint="Name another --key-file."
        ) from None
    return signer


def load_approver_key(path: Path) -> Signer:
    """Raises SettingsError when it is not there, readable by others, or no Ed25519 key."""
    if not path.exists():
        raise SettingsError(
            f"no approver's key at {path}",
            op="load approver key",
            hint="Make one with: pra key approver, or name it with --key-file.",
        )
    signer = _read_signer(path)
    if signer.alg != "ed25519":
        raise SettingsError(f"{path} holds no ed25519 key", op="load approver key")
    return signer


def load_signer(signing: Signing, state_dir: Path) -> Signer:
    """The key this machine signs with.

    Raises:
        SettingsError: No key, another algorithm than configured, open to others, or already retired.
    """
    path = signing.key_file or state_dir / "keys" / SIGNING_FILE
    signer = _read_signer(path)
    if signer.alg != signing.alg:
        raise SettingsError(
            f"signing.alg is {signing.alg}, but {path} holds a key for {signer.alg}",
            op="load signing key",
            hint="Set signing.alg to what the key is for, or name another signing.key_file.",
        )
    if (path.parent / RETIRED / f"{signer.key_id}.json").exists():
        raise SettingsError(
            f"the signing key {signer.key_id} is retired",
            op="load signing key",
            hint="A rotation was interrupted; finish it with: pra key rotate",
        )
    return signer


def load_keyring(signing: Signing, state_dir: Path) -> Keyring:
    """Every key whose signatures count: our own, our retired ones, and ``signing.trusted``.

    Raises:
        SettingsError: A key cannot be read, or there is none at all, so that nothing could be verified.
    """
    path = signing.key_file or state_dir / "keys" / SIGNING_FILE
    keys = [parse_public_key(text) for text in signing.trusted]
    if path.exists():
        keys.append(_read_signer(path).trusted)
    keys += [_read_retired(record) for record in sorted((path.parent / RETIRED).glob("*.json"))]
    if not keys:
        raise SettingsError(
            "no key is trusted, so no signature can be checked",
            op="load trusted keys",
            hint=f"{_MAKE}, or list another machine's public key in signing.trusted.",
        )
    return Keyring(keys)


def load_identities(encryption: Encryption, state_dir: Path) -> list[str]:
    """All age identities, newest first: the current file, then the retired ones.

    Raises:
        DecryptError: None is there.
        SettingsError: A file is readable by others, or holds no identity.
    """
    current = encryption.identity_file or state_dir / "keys" / IDENTITY_FILE
    retired = sorted((current.parent / RETIRED).glob("identity-*.txt"), reverse=True)
    files = [path for path in (current, *retired) if path.exists()]
    if not files:
        raise DecryptError(
            f"no age identity at {current}",
            op="load age identity",
            hint="Copy it there from the printed recovery sheet; without it no encrypted backup can be read.",
        )
    found = [identity for path in files for identity in _identities_in(path)]
    return list(dict.fromkeys(found))


def _identities_in(path: Path) -> list[str]:
    lines = [line.strip() for line in _read_private(path).splitlines()]
    identities = [line for line in lines if line and not line.startswith("#")]
    for line in identities:
        try:
            pyrage.x25519.Identity.from_str(line)
        except pyrage.IdentityError:
            # Not chained: the cause might quote the line.
            raise SettingsError(
                f"{path} holds a line that is no age identity", op="load age identity"
            ) from None
    if not identities:
        raise SettingsError(f"{path} holds no age identity", op="load age identity")
    return identities


def _read_signer(path: Path) -> Signer:
    if not path.exists():
        raise SettingsError(f"no signing key at {path}", op="load signing key", hint=_MAKE)
    for line in _read_private(path).splitlines():
        for alg in ALGS:
            if line.startswith(f"{alg}-secret:"):
                try:
                    return Signer(alg, decode_base64(line.partition(":")[2].strip()))
                except ValueError:
                    break
    raise SettingsError(f"{path} holds no signing key", op="load signing key", hint=_MAKE)


def _read_retired(path: Path) -> TrustedKey:
    op = "load retired key"
    try:
        record = json.loads(_read_private(path))
        alg: Alg = record["alg"]
        key = TrustedKey(alg, decode_base64(record["material"]), from_iso(record["retired_at"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path} is not a retired key", op=op) from error
    if alg not in ALGS or key.key_id != path.stem:
        raise SettingsError(f"{path} holds another key than its name says", op=op)
    return key


def _retired_text(signer: Signer, moment: datetime) -> str:
    _, _, material = (signer.public_key if signer.alg == "ed25519" else signer.secret_text()).partition(":")
    record = {
        "schema": "pra/retired-key/1",
        "alg": signer.alg,
        "material": material,
        "retired_at": to_iso(moment),
    }
    return json.dumps(record, indent=1, sort_keys=True) + "\n"


def _identity_text(identity: pyrage.x25519.Identity, moment: datetime) -> str:
    created = f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"# created: {created}\n# public key: {identity.to_public()}\n{identity}\n"


def _signing_text(signer: Signer, moment: datetime) -> str:
    created = f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    public = f"# public key: {signer.public_key}\n" if signer.public_key else ""
    return f"# created: {created}\n# key id: {signer.key_id}\n{public}{signer.secret_text()}\n"


def _private_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise UsageError(
            f"cannot use {directory} for keys: {error.strerror}", op="make keys", hint="Choose PRA_STATE_DIR."
        ) from error


def _read_private(path: Path) -> str:
    """Read a key file that nobody else can read. 0400 (a mounted secret) is as good as 0600."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            data = file.read(_LARGEST_KEY_FILE)
    except OSError as error:
        raise SettingsError(
            f"cannot read {path}: {error.strerror}",
            op="load key",
            hint="Let the account that runs pra own it.",
        ) from error
    if mode not in (0o600, 0o400):
        raise SettingsError(
            f"{path} has mode {mode:04o}", op="load key", hint=f"Make it yours alone: chmod 600 {path}"
        )
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not a key file", op="load key") from None


def _write_private(path: Path, text: str) -> None:
    """Write a file that must not exist, durably."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _sync_directory(path.parent)


def _replace_private(path: Path, text: str) -> None:
    """Replace a file at once: it is the old one or the new one, never half of either."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # left by an attempt that died
    _write_private(temporary, text)
    temporary.rename(path)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
