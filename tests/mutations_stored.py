"""The mutation table on stored bytes: what is done to objects and manifests, and what a proof must say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pra import keys
from pra.document import canonical, sign_document
from pra.engines.pack import tar_stream, unpack
from pra.keys import load_identities
from pra.model import StoredObject
from pra.signing import Signer
from pra.storage.pipe import seal, unseal
from pra.timing import to_iso, utc_now
from tests.fix_mutations import Vault

Damage = Callable[[Vault], None]
Document = dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """One kind of damage to stored bytes, the check that must fail, and the words it must use."""

    name: str
    damage: Damage
    check: str
    says: tuple[str, ...]


# -- objects -------------------------------------------------------------------------------------------


def missing(which: str) -> Damage:
    return lambda vault: vault.object(which).unlink()


def flipped(which: str, where: float) -> Damage:
    """One bit, at this share of the object's length."""

    def damage(vault: Vault) -> None:
        path = vault.object(which)
        data = bytearray(path.read_bytes())
        data[min(int(len(data) * where), len(data) - 1)] ^= 0x10
        write(path, bytes(data))

    return damage


def truncated(which: str, left: float) -> Damage:
    def damage(vault: Vault) -> None:
        data = vault.object(which).read_bytes()
        write(vault.object(which), data[: int(len(data) * left)])

    return damage


def extended(which: str) -> Damage:
    return lambda vault: write(vault.object(which), vault.object(which).read_bytes() + b"\0")


def swapped(one: str, other: str) -> Damage:
    def damage(vault: Vault) -> None:
        first, second = vault.object(one).read_bytes(), vault.object(other).read_bytes()
        write(vault.object(one), second)
        write(vault.object(other), first)

    return damage


def from_other_backup(which: str) -> Damage:
    return lambda vault: write(vault.object(which), vault.object(which, vault.first).read_bytes())


def blocks_exchanged(vault: Vault) -> None:
    """The same bytes in another order: sizes and sums stay."""
    data = vault.object("dump").read_bytes()
    write(vault.object("dump"), data[:8192] + data[12288:16384] + data[8192:12288] + data[16384:])


def write(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


# -- manifests -----------------------------------------------------------------------------------------


def document(vault: Vault, backup_id: str | None = None) -> Document:
    loaded: Document = json.loads(vault.manifest(backup_id).read_bytes())
    return loaded


def signer(vault: Vault) -> Signer:
    with vault.world.context() as context:
        return context.signer


def altered(change: Callable[[Document], object]) -> Damage:
    """Changed without a new signature."""

    def damage(vault: Vault) -> None:
        found = document(vault)
        change(found)
        write(vault.manifest(), canonical(found))

    return damage


def resigned(change: Callable[[Document], object], by: Callable[[Vault], Signer] = signer) -> Damage:
    """Changed and signed anew, as somebody who has a key could."""

    def damage(vault: Vault) -> None:
        found = document(vault)
        change(found)
        write(vault.manifest(), sign_document(found, by(vault)))

    return damage


def first_object(found: Document) -> Document:
    one: Document = found["objects"][0]
    return one


def retired_signer(vault: Vault) -> Signer:
    """The key of before, as it was copied away, after its owner has rotated it."""
    before = signer(vault)
    keys.rotate_keys(vault.world.home / "state" / "keys")
    return before


def other_backups_manifest(vault: Vault) -> None:
    write(vault.manifest(), vault.manifest(vault.first).read_bytes())


def cut_short(vault: Vault) -> None:
    write(vault.manifest(), vault.manifest().read_bytes()[:-40])


def rewritten(vault: Vault) -> None:
    """The same document and signature in another spelling."""
    write(vault.manifest(), json.dumps(document(vault), indent=1).encode())


def key_twice(vault: Vault) -> None:
    write(vault.manifest(), vault.manifest().read_bytes().replace(b"{", b'{"kind":"full",', 1))


# -- sealed anew, by somebody who has the keys: only the content itself can tell ------------------------


def opened(vault: Vault, which: str, folder: Path, backup_id: str | None = None) -> Path:
    """The plaintext of one object: a folder of files for the dump, a file otherwise."""
    with vault.world.context() as context:
        identities = load_identities(context.settings.encryption, context.state_dir)
    path = vault.object(which, backup_id)
    stored = next(o for o in document(vault, backup_id)["objects"] if o["name"] == path.name)
    with path.open("rb") as raw, unseal(raw, StoredObject(**stored), identities=identities) as plain:
        if which == "dump":
            folder.mkdir(exist_ok=True)
            unpack(plain, folder)
            return folder
        target = folder.with_suffix(".plain")
        target.write_bytes(plain.read())
        return target


def resealed(which: str, change: Callable[[Path], None], *, other: bool = False) -> Damage:
    """Decrypted, changed, encrypted and signed again.

    Args:
        other: Start from the other backup's object of that name.
    """

    def damage(vault: Vault) -> None:
        folder = vault.world.home / "opened"
        plain = opened(vault, which, folder, vault.first if other else None)
        change(plain)
        found, path = document(vault), vault.object(which)
        path.unlink()
        names = sorted(p.name for p in plain.iterdir()) if plain.is_dir() else []
        source = tar_stream(plain, names) if plain.is_dir() else [plain.read_bytes()]
        stored = seal(source, path, recipients=found["recipients"])
        found["objects"] = [vars(stored) if o["name"] == path.name else o for o in found["objects"]]
        write(vault.manifest(), sign_document(found, signer(vault)))
        shutil.rmtree(folder, ignore_errors=True)

    return damage


def largest(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.name != "toc.dat"), key=lambda p: p.stat().st_size)


def without_contents(folder: Path) -> None:
    (folder / "toc.dat").unlink()


def without_rows(folder: Path) -> None:
    largest(folder)[-1].unlink()


def nothing(_: Path) -> None:
    return None


def first_global_lost(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "lock_timeout" not in line) + "\n")


STORED = (
    *(
        Stored(f"{which} {kind}", make, "objects", (which, *says))
        for which in ("dump", "globals", "fingerprint")
        for kind, make, says in (
            ("missing", missing(which), ()),
            ("with its first bit flipped", flipped(which, 0), ("not those that were sealed",)),
            ("with a bit flipped in the middle", flipped(which, 0.5), ("not those that were sealed",)),
            ("with its last bit flipped", flipped(which, 1), ("not those that were sealed",)),
            ("truncated", truncated(which, 0.9), ("not those that were sealed",)),
            ("empty", truncated(which, 0), ("not those that were sealed", "observed 0 bytes")),
            ("extended", extended(which), ("not those that were sealed", "more than")),
            ("from another backup", from_other_backup(which), ("not those that were sealed",)),
        )
    ),
    Stored("objects swapped", swapped("dump", "globals"), "objects", ("not those that were sealed",)),
    Stored("blocks exchanged", blocks_exchanged, "objects", ("dump", "not those that were sealed")),
    Stored("manifest: a count", altered(lambda d: d["tables"][0].update(rows=1)), "manifest",
           ("does not match the content",)),
    Stored("manifest: an object's digest", altered(lambda d: first_object(d).update(sha256="0" * 64)),
           "manifest",
           ("does not match the content",)),
    Stored("manifest: taken at another moment",
           altered(lambda d: d.update(taken_at="2020-01-01T00:00:00.000000Z")), "manifest",
           ("does not match the content",)),
    Stored("manifest: an object dropped", altered(lambda d: d["objects"].pop()), "manifest",
           ("does not match the content",)),
    Stored("manifest: unsigned", altered(lambda d: d.pop("signature")), "manifest", ("not signed",)),
    Stored("manifest: signature of another", altered(lambda d: d.update(signature="A" * 86 + "==")),
           "manifest",
           ("does not match the content",)),
    Stored("manifest: another algorithm named", altered(lambda d: d.update(alg="hmac-sha256")), "manifest",
           ("names 'hmac-sha256'",)),
    Stored("manifest: signed by an unknown key", resigned(lambda d: None, lambda _: Signer.generate()),
           "manifest",
           ("unknown key",)),
    Stored("manifest: signed by a retired key",
           resigned(lambda d: d.update(finished_at=to_iso(utc_now().replace(year=2100))), retired_signer),
           "manifest", ("signed by a retired key",)),
    Stored("manifest: of another target", resigned(lambda d: d.update(target="other")), "manifest",
           ("belongs to target other",)),
    Stored("manifest: of another backup", other_backups_manifest, "manifest", ("belongs to backup",)),
    Stored("manifest: cut short", cut_short, "manifest", ("not readable JSON",)),
    Stored("manifest: a key given twice", key_twice, "manifest", ("not readable JSON",)),
    Stored("manifest: in another spelling", rewritten, "manifest", ("not stored in canonical form",)),
    Stored("manifest: of an unknown schema", resigned(lambda d: d.update(schema="pra/manifest/9")),
           "manifest",
           ("schema 'pra/manifest/9'",)),
    Stored("manifest: names no object", resigned(lambda d: d.update(objects=[])), "manifest",
           ("no sound objects",)),
    Stored("fingerprint of another backup, sealed and signed anew", resealed("fingerprint", nothing,
           other=True),
           "objects", ("the fingerprint is not the one the manifest names",)),
)  # fmt: skip

SEALED_ANEW = (
    Stored("dump without its contents", resealed("dump", without_contents), "restore", ("pg_restore",)),
    Stored("dump without a table's rows", resealed("dump", without_rows), "restore", ("pg_restore",)),
    Stored("globals without a setting", resealed("globals", first_global_lost), "globals",
           ("role setting for role mut_reader: missing",)),
)  # fmt: skip
