"""The mutation table for base backups: what is done to stored bytes or to the directory; the complaint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pra.document import canonical
from tests.fix_pages import PAGE, replace_bytes
from tests.fix_physical_mutations import DamageDirectory, Files, PhysicalVault

Damage = Callable[[PhysicalVault], None]


@dataclass(frozen=True)
class Stored:
    """Damage to a repository, the check that must fail, and what it must say (``{…}``: of the vault)."""

    name: str
    damage: Damage
    check: str
    says: tuple[str, ...]


@dataclass(frozen=True)
class InDirectory:
    """Damage to the assembled data directory, before recovery."""

    name: str
    damage: DamageDirectory
    check: str
    says: str


def flip(path: Path, where: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[min(int(len(data) * where), len(data) - 1)] ^= 0x10
    replace(path, bytes(data))


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def after(vault: PhysicalVault) -> str:
    """A segment behind the backup's own, with more behind it."""
    return vault.wal[-2]


def own(vault: PhysicalVault) -> str:
    """The last segment that the backup itself needs."""
    found = json.loads(vault.manifest().read_bytes())
    name: str = found["physical"]["wal"][-1]["name"]
    return name


def next_to_own(vault: PhysicalVault) -> str:
    return vault.wal[vault.wal.index(own(vault)) + 1]


def altered(vault: PhysicalVault) -> None:
    found = json.loads(vault.manifest(vault.full).read_bytes())
    found["tables"][0]["rows"] += 1
    replace(vault.manifest(vault.full), canonical(found))


def swap_segments(vault: PhysicalVault) -> None:
    """Each under the other's name: whole objects, sealed by us, in the wrong place."""
    one, other = vault.segment(after(vault)), vault.segment(vault.wal[-3])
    first, second = one.read_bytes(), other.read_bytes()
    replace(one, second)
    replace(other, first)


def forged_history(vault: PhysicalVault) -> None:
    """A drill's timeline, say, that somebody put into the archive by hand."""
    folder = vault.segment(after(vault)).parent.parent / "00000002"
    folder.mkdir()
    (folder / f"00000002-{'0' * 64}.history").write_text("1\t0/3000000\tno recovery target specified\n")


SEALED = ("not those that were sealed",)
STORED = (
    *(
        Stored(f"{which} of the {whose} backup {kind}", damage, "objects", (which, *says))
        for which in ("base", "fingerprint")
        for whose in ("incremental", "full")
        if (which, whose) != ("fingerprint", "full")
        for kind, damage, says in (
            ("missing", lambda v, w=which, o=whose: v.object(w, getattr(v, o)).unlink(), ()),
            ("with a bit flipped", lambda v, w=which, o=whose: flip(v.object(w, getattr(v, o))), SEALED),
            ("truncated", lambda v, w=which, o=whose: truncate(v.object(w, getattr(v, o))), SEALED),
        )
    ),
    Stored("parent gone", lambda v: shutil.rmtree(v.manifest(v.full).parent), "objects", ("{full}",)),
    Stored("parent's manifest altered", altered, "objects", ("{full}",)),
    Stored("own WAL segment missing", lambda v: v.segment(own(v)).unlink(), "objects",
           ("{own}", "missing", "near")),
    Stored("own WAL segment with a bit flipped", lambda v: flip(v.segment(own(v))), "objects", ("{own}",)),
    Stored("WAL segment behind it missing", lambda v: v.segment(after(v)).unlink(), "objects",
           ("{after}", "missing", "near")),
    Stored("WAL segment next to its own missing", lambda v: v.segment(next_to_own(v)).unlink(), "objects",
           ("missing", "near")),
    Stored("WAL segment behind it with a bit flipped", lambda v: flip(v.segment(after(v))), "objects",
           ("{after}", "near")),
    Stored("WAL segment behind it truncated", lambda v: truncate(v.segment(after(v))), "objects",
           ("{after}", "near")),
    Stored("WAL segments swapped", swap_segments, "objects", ("near", "not what was archived")),
    Stored("history that is not what its name says", forged_history, "objects",
           ("00000002.history", "near", "not what was archived")),
)  # fmt: skip


def truncate(path: Path) -> None:
    data = path.read_bytes()
    replace(path, data[: len(data) * 9 // 10])


# -- in the directory ---------------------------------------------------------------------------------


def one_row(data: Path, files: Files) -> None:
    """One committed row, its page's checksum made right: nothing but the comparison can see it."""
    replace_bytes(
        data / files.relations["victims"], b"victim number 77", b"victim number 78", with_checksum=True
    )


def page(data: Path, files: Files) -> None:
    replace_bytes(
        data / files.relations["victims"], b"victim number 77", b"victim number 78", with_checksum=False
    )


def index_page(data: Path, files: Files) -> None:
    scribble(data / files.relations["victims_pkey"], PAGE + 4000)


def other_database(data: Path, files: Files) -> None:
    scribble(data / files.relations["elsewhere"], 4000)


def scribble(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * 64)


def relation_lost(data: Path, files: Files) -> None:
    (data / files.relations["victims"]).unlink()


def relation_cut(data: Path, files: Files) -> None:
    path = data / files.relations["victims"]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // PAGE // 2 * PAGE)


def relation_of_zeros(data: Path, files: Files) -> None:
    """Empty pages are sound pages."""
    path = data / files.relations["victims"]
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\0" * size)


def commit_log(data: Path, _: Files) -> None:
    """Every transaction of the last ones in progress for ever."""
    for path in (data / "pg_xact").iterdir():
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.write(b"\0" * size)


def label_lost(data: Path, _: Files) -> None:
    (data / "backup_label").unlink()


def label_moved(data: Path, _: Files) -> None:
    """Recovery would begin in the middle of nowhere."""
    path = data / "backup_label"
    lines = path.read_text().splitlines(keepends=True)
    changed = [
        "CHECKPOINT LOCATION: 0/1000028\n" if line.startswith("CHECKPOINT") else line for line in lines
    ]
    path.write_text("".join(changed))


def control_lost(data: Path, _: Files) -> None:
    (data / "global" / "pg_control").unlink()


def map_moved(data: Path, _: Files) -> None:
    """The tablespace is looked for where there is none."""
    path = data / "tablespace_map"
    oid = path.read_text().split(" ", 1)[0]
    path.write_text(f"{oid} {data.parent}/nowhere\n")


def tablespace_file_lost(data: Path, files: Files) -> None:
    (data / files.relations["apart"]).unlink()


IN_DIRECTORY = (
    InDirectory("one committed row", one_row, "fingerprint", "table public.victims: content"),
    InDirectory("a page", page, "fingerprint", "invalid page in block"),
    InDirectory("a page of an index", index_page, "amcheck", "victims_pkey"),
    InDirectory("a page in another database", other_database, "amcheck", "elsewhere"),
    InDirectory("a relation's file gone", relation_lost, "fingerprint", "could not open file"),
    InDirectory("a relation's file cut short", relation_cut, "fingerprint", "table public.victims: rows"),
    InDirectory("a relation's file of zeros", relation_of_zeros, "fingerprint", "table public.victims: rows"),
    InDirectory("the commit log", commit_log, "restore|fingerprint", "."),
    InDirectory("backup_label gone", label_lost, "restore|objects", "backup_label"),
    InDirectory("backup_label moved", label_moved, "restore|objects", "checkpoint|backup_label"),
    InDirectory("pg_control gone", control_lost, "restore|objects", "pg_control|control"),
    InDirectory("tablespace_map moved", map_moved, "restore|objects|fingerprint", "tablespace|could not"),
    InDirectory("a file in a tablespace gone", tablespace_file_lost, "fingerprint", "could not open file"),
)
