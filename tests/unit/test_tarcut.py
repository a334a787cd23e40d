"""A tar stream becomes volumes of whole members, and volumes become the directory: nothing lost or added."""

from __future__ import annotations

import io
import os
import random
import signal
import stat
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyrage
import pytest

from pra.engines.base_fetching import BaseFiles, fetch_base
from pra.engines.beside import Beside
from pra.engines.tarcut import Cutter
from pra.errors import (
    DecryptError,
    IntegrityError,
    PraError,
    SpaceError,
    StorageError,
    ToolError,
    UsageError,
)
from pra.manifest import Manifest, Tablespace
from pra.model import StoredObject
from pra.proc import Scope
from pra.storage.local import LocalStorage
from pra.storage.pipe import seal
from pra.storage.spool import Attempt, Spool

KEY = pyrage.x25519.Identity.generate()
IDENTITY, RECIPIENT = str(KEY), str(KEY.to_public())
CONTROL = ("global/pg_control", b"c" * 8192)


def tar_of(
    files: list[tuple[str, bytes]],
    *,
    directories: tuple[str, ...] = (),
    links: tuple[tuple[str, str], ...] = (),
    form: int = tarfile.GNU_FORMAT,
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name in directories:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            archive.addfile(entry)
        for name, location in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, location
            archive.addfile(entry)
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o640
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@dataclass
class Bench:
    """A spool with one publisher that never comes, a repository, and what went from one to the other."""

    home: Path
    scope: Scope
    spool: Spool
    attempt: Attempt
    storage: LocalStorage
    taken: dict[str, bytes] = field(default_factory=dict)
    objects: list[StoredObject] = field(default_factory=list)

    def cutter(self, **options: Any) -> Cutter:
        options.setdefault("recipients", [RECIPIENT])
        options.setdefault("taken", self.taken.__setitem__)
        return Cutter(self.attempt, scope=self.scope, **options)

    def cut(self, data: bytes, **options: Any) -> list[StoredObject]:
        """Through a pipe that is written in uneven pieces."""
        cutter = self.cutter(**options)
        with pouring(data) as source:
            try:
                cutter.feed(source)
            except PraError:
                cutter.abort()
                raise
        objects = cutter.finish()
        self.objects += objects
        return objects

    def store(self, *more: StoredObject) -> None:
        self.objects += more
        for stored in self.objects:
            self.storage.put(stored.name, self.attempt.path(stored.name), sha256=stored.sha256)

    def fetch(
        self, *, storage: Any = None, tablespaces: dict[int, Path] | None = None, **options: Any
    ) -> BaseFiles:
        directory = self.home / "data"
        directory.mkdir(mode=0o700, exist_ok=True)
        options.setdefault("identities", [IDENTITY])
        named = tuple(Tablespace(oid=oid, location=f"/old/{oid}") for oid in tablespaces or {})
        manifest = SimpleNamespace(
            objects=tuple(self.objects),
            bytes=sum(stored.bytes for stored in self.objects),
            physical=SimpleNamespace(tablespaces=named),
        )
        return fetch_base(
            storage or self.storage,
            lambda name: name,
            cast(Manifest, manifest),
            directory,
            scope=self.scope,
            tablespaces=tablespaces,
            small_bytes=0,
            **options,
        )


class pouring:  # reads as a verb where it is used
    """A pipe into which ``data`` is being written; closed early where the reader goes away."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> int:
        self._source, sink = os.pipe()
        pieces = random.Random(7)

        def pour() -> None:
            position = 0
            with io.FileIO(sink, "wb") as stream:
                while position < len(self._data):
                    size = pieces.choice([1, 511, 513, 4096, 70_000, 1 << 20])
                    try:
                        position += stream.write(self._data[position : position + size])
                    except BrokenPipeError:
                        return

        self._thread = threading.Thread(target=pour, daemon=True)
        self._thread.start()
        return self._source

    def __exit__(self, *_: object) -> None:
        os.close(self._source)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    storage = LocalStorage("near", f"file://{tmp_path / 'repository'}")
    storage.initialise()
    with Scope() as scope, Spool(tmp_path / "spool", 1 << 40, ["near"]) as spool:
        attempt = spool.open("backup")
        yield Bench(tmp_path, scope, spool, attempt, storage)
        attempt.abandon("the test is over")
        spool.leave("near")


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def some_files() -> list[tuple[str, bytes]]:
    dice = random.Random(3)
    sizes = [0, 1, 511, 512, 513, 8192, 100_000, 1_048_576, 2_500_000, 3_000_001]
    return [(f"base/5/{n}", dice.randbytes(size)) for n, size in enumerate(sizes)] + [CONTROL]


# -- round trips -----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipients", [[RECIPIENT], []], ids=["encrypted", "plain"])
@pytest.mark.parametrize("volume_bytes", [1, 1_000_000, 1 << 30], ids=["one file each", "some", "one volume"])
def test_what_was_cut_comes_back(bench: Bench, volume_bytes: int, recipients: list[str]) -> None:
    files = some_files()
    objects = bench.cut(
        tar_of(files, directories=("pg_notify",)), volume_bytes=volume_bytes, recipients=recipients
    )
    bench.store()
    fetched = bench.fetch(identities=[IDENTITY] if recipients else [])
    assert files_below(fetched.directory) == dict(files)
    assert (fetched.directory / "pg_notify").is_dir()
    assert stat.S_IMODE((fetched.directory / "base/5/1").stat().st_mode) == 0o640
    assert len(objects) == {1: len(files) + 1, 1_000_000: 5, 1 << 30: 1}[volume_bytes]
    assert fetched.bytes == sum(stored.bytes for stored in objects)


def test_volumes_are_tar_archives_that_any_tool_reads(bench: Bench, tmp_path: Path) -> None:
    files = some_files()
    by_hand = tmp_path / "by-hand"
    by_hand.mkdir()
    for stored in bench.cut(tar_of(files), volume_bytes=1_000_000):
        assert stored.name.startswith("base-0")
        sealed = bench.attempt.path(stored.name).read_bytes()
        plain = subprocess.run(
            ["zstd", "-dc"], input=pyrage.decrypt(sealed, [KEY]), capture_output=True, check=True
        )
        assert len(plain.stdout) == stored.plain_bytes
        subprocess.run(["tar", "x", "-C", by_hand], input=plain.stdout, check=True)
    assert files_below(by_hand) == dict(files)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_survive(bench: Bench, form: int) -> None:
    deep = "base/" + "d" * 90 + "/" + ("f" * 90 if form == tarfile.USTAR_FORMAT else "é" * 120)
    files = [(deep, b"deep"), ("base/5/1", b"x" * 1000), CONTROL]
    bench.cut(tar_of(files, form=form), volume_bytes=1)
    bench.store()
    assert files_below(bench.fetch().directory) == dict(files)


def test_a_file_can_be_fed_as_well_as_a_pipe_and_one_after_the_other(bench: Bench, tmp_path: Path) -> None:
    first, second = [("base/1/1", b"one"), CONTROL], [("base/1/2", b"two" * 10_000)]
    cutter = bench.cutter()
    for number, files in enumerate((first, second)):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(tar_of(files))
        with path.open("rb") as source:
            cutter.feed(source)
    bench.objects = cutter.finish()
    assert [stored.name for stored in bench.objects] == ["base-0001.tar.zst.age", "base-0002.tar.zst.age"]
    bench.store()
    assert files_below(bench.fetch().directory) == dict(first + second)


def test_an_empty_archive_makes_no_volume(bench: Bench) -> None:
    assert bench.cut(tar_of([])) == []


def test_diverted_members_are_handed_over_and_copied_ones_stay_too(bench: Bench) -> None:
    segment, manifest = os.urandom(16 << 20), b'{"Files": []}'
    files = [CONTROL, ("base/5/1", b"rows"), ("pg_wal/000000010000000000000002", segment)]
    files += [("backup_manifest", manifest)]
    seen: list[int] = []
    bench.cut(
        tar_of(files, directories=("pg_wal",)),
        divert=lambda name: name.startswith("pg_wal/"),
        copy=lambda name: name == "backup_manifest",
        report=lambda phase, done, total: seen.append(done),
    )
    assert bench.taken == {"pg_wal/000000010000000000000002": segment, "backup_manifest": manifest}
    bench.store()
    found = files_below(bench.fetch().directory)
    assert found == {name: data for name, data in files if not name.startswith("pg_wal/")}
    assert (bench.home / "data" / "pg_wal").is_dir()
    assert seen == sorted(seen)
    assert seen[-1] > len(segment)


def test_tablespaces_land_where_they_are_sent(bench: Bench, tmp_path: Path) -> None:
    """The map is what recovery makes its links from: it must say the new place, not the old one."""
    old = b"16385 /old/16385\n"
    base = tar_of([("tablespace_map", old), CONTROL], links=(("pg_tblspc/16385", "/old/16385"),))
    bench.cut(base)
    bench.cut(tar_of([("PG_18_202506291/5/1", b"there")]), prefix="tblspc-16385")
    bench.store()
    place = tmp_path / "new\\place"
    place.mkdir()
    data = bench.fetch(tablespaces={16385: place}).directory
    assert (data / "pg_tblspc/16385").readlink() == place
    assert files_below(place) == {"PG_18_202506291/5/1": b"there"}
    assert (data / "tablespace_map").read_text() == "16385 " + str(place).replace("\\", "\\\\") + "\n"


def test_other_objects_land_apart(bench: Bench) -> None:
    bench.cut(tar_of([CONTROL]))
    path = bench.attempt.path("fingerprint.json.zst.age")
    bench.store(seal([b'{"x": 1}'], path, recipients=[RECIPIENT]))
    fetched = bench.fetch()
    assert files_below(fetched.extras) == {"fingerprint.json": b'{"x": 1}'}
    assert files_below(fetched.directory) == dict([CONTROL])


def test_files_get_the_owner_asked_for(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    from pra.proc import Account

    bench.cut(tar_of([("base/5/1", b"x"), CONTROL], directories=("pg_wal",)))
    bench.store()
    directory = bench.fetch(owner=Account("nobody", 65534, 65534)).directory
    owners = {path.lstat().st_uid for path in (directory, *directory.rglob("*"))}
    assert owners == {65534}


# -- what goes wrong while it is cut ---------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 100, 700, 300_000], ids=str)
def test_a_stream_that_ends_early_is_no_backup(bench: Bench, length: int) -> None:
    with pytest.raises(IntegrityError, match="ended before its end") as caught:
        bench.cut(tar_of([("base/5/1", os.urandom(500_000))])[:length])
    assert caught.value.transient


def test_a_stream_that_is_no_archive_is_named_as_such(bench: Bench) -> None:
    with pytest.raises(IntegrityError, match="not a tar archive"):
        bench.cut(os.urandom(100_000))


def test_a_member_of_another_kind_is_refused(bench: Bench) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("base/pipe")
        entry.type = tarfile.FIFOTYPE
        archive.addfile(entry)
    with pytest.raises(IntegrityError, match="base/pipe, which is no plain file"):
        bench.cut(out.getvalue())


def test_a_full_disk_says_so(bench: Bench, small_disk: Path) -> None:
    with Spool(small_disk / "spool", 1 << 40, ["near"]) as spool:
        bench.attempt = spool.open("backup")
        with pytest.raises(SpaceError, match="no space left"):
            bench.cut(tar_of([("base/5/1", os.urandom(8 << 20))]))
        spool.leave("near")


def test_a_sealing_process_that_is_killed_ends_the_cut(bench: Bench) -> None:
    cutter = bench.cutter()
    source, sink = os.pipe()
    threading.Timer(0.7, lambda: _child(cutter).send(signal.SIGKILL)).start()
    with pytest.raises(ToolError, match="signal 9") as caught:
        cutter.feed(source)
    assert caught.value.transient
    cutter.abort()
    os.close(source)
    os.close(sink)


def _child(cutter: Cutter) -> Any:
    beside = cutter._beside
    assert isinstance(beside, Beside)
    return beside._process


def test_a_closed_scope_ends_the_cut(bench: Bench) -> None:
    cutter = bench.cutter()
    source, sink = os.pipe()
    threading.Timer(0.5, bench.scope.close).start()
    with pytest.raises(ToolError, match="the work was stopped"):
        cutter.feed(source)
    os.close(source)
    os.close(sink)


def test_an_abandoned_attempt_ends_the_wait_for_room(bench: Bench, tmp_path: Path) -> None:
    """The publishers are slow, the spool is full, and then somebody gives up."""
    with Spool(tmp_path / "narrow", 1000, ["near"]) as spool:
        bench.attempt = spool.open("backup")
        threading.Timer(0.8, lambda: bench.attempt.abandon("enough")).start()
        started = time.monotonic()
        with pytest.raises(StorageError, match="is over"):
            bench.cut(tar_of([(f"base/5/{n}", os.urandom(300_000)) for n in range(40)]), volume_bytes=1)
        assert 0.5 < time.monotonic() - started < 10
        spool.leave("near")


def test_a_narrow_spool_holds_the_cutter_back(bench: Bench, tmp_path: Path) -> None:
    with Spool(tmp_path / "narrow", 400_000, ["near"]) as spool:
        bench.attempt = spool.open("backup")
        most: list[int] = []

        def publish() -> None:
            for event in spool.follow("near"):
                most.append(len(list((bench.attempt.folder / "objects").iterdir())))
                spool.done("near", event.object.name)  # type: ignore[union-attr]

        thread = threading.Thread(target=publish)
        thread.start()
        bench.cut(tar_of([(f"base/5/{n}", os.urandom(300_000)) for n in range(30)]), volume_bytes=1)
        spool.leave("near")
        thread.join()
        assert len(most) == 30
        assert max(most) <= 6  # two in the spool, two being sealed, two that wait to be announced


def test_an_error_of_the_taker_is_the_error_of_the_cut(bench: Bench) -> None:
    def refuse(name: str, data: bytes) -> None:
        raise UsageError("not this one")

    cutter = bench.cutter(divert=lambda name: True, taken=refuse)
    with pytest.raises(UsageError, match="not this one"), pouring(tar_of([("pg_wal/x", b"x")])) as source:
        cutter.feed(source)
    cutter.abort()
    cutter.abort()


def test_no_recipient_or_identity_shows_in_the_process_list(bench: Bench) -> None:
    cutter = bench.cutter()
    source, sink = os.pipe()
    seen: list[bytes] = []

    def look() -> None:
        pid = _child(cutter).pid
        seen.append(Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes())
        os.close(sink)

    threading.Timer(0.5, look).start()
    with pytest.raises(IntegrityError):
        cutter.feed(source)
    os.close(source)
    assert b"pra.engines.sealer" in seen[0]
    assert RECIPIENT.encode() not in seen[0]
    cutter.abort()


# -- what goes wrong while it is fetched -----------------------------------------------------------

Damage = Callable[[Path], None]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


class Remote:
    """The repository as one whose objects are streams without a file behind them."""

    def __init__(self, storage: LocalStorage, fail_after: int | None = None) -> None:
        self._storage = storage
        self._fail_after = fail_after

    def open(self, key: str) -> Any:
        data = self._storage.read(key)

        class Stream(io.BytesIO):
            limit = self._fail_after

            def read(self, size: int | None = -1) -> bytes:
                if self.limit is not None and self.tell() >= self.limit:
                    raise StorageError("the line went dead", op="read")
                return super().read(65536 if size is None else min(size, 65536))

        return Stream(data)


remote_or_not = pytest.mark.parametrize("remote", [False, True], ids=["file", "stream"])


def three_volumes(bench: Bench) -> None:
    files = [(f"base/5/{n}", os.urandom(3_000_000)) for n in range(3)] + [CONTROL]
    bench.cut(tar_of(files), volume_bytes=3_500_000)
    bench.store()


@remote_or_not
@pytest.mark.parametrize("damage", [_flip, _cut_short, _lengthen], ids=["flipped", "shorter", "longer"])
def test_damage_names_its_volume_and_leaves_no_control_file(
    bench: Bench, damage: Damage, remote: bool
) -> None:
    three_volumes(bench)
    damage(bench.storage.root / bench.objects[1].name)
    with pytest.raises((IntegrityError, DecryptError), match=bench.objects[1].name):
        bench.fetch(storage=Remote(bench.storage) if remote else None)
    assert not (bench.home / "data/global/pg_control").exists()


def test_a_repository_that_fails_is_not_taken_for_damage(bench: Bench) -> None:
    three_volumes(bench)
    with pytest.raises(StorageError, match="the line went dead"):
        bench.fetch(storage=Remote(bench.storage, fail_after=1_000_000))


@remote_or_not
def test_a_key_that_does_not_fit_is_said(bench: Bench, remote: bool) -> None:
    three_volumes(bench)
    with pytest.raises(DecryptError, match="no age identity"):
        bench.fetch(
            identities=[str(pyrage.x25519.Identity.generate())],
            storage=Remote(bench.storage) if remote else None,
        )


def test_a_full_disk_is_not_taken_for_damage(bench: Bench, small_disk: Path) -> None:
    three_volumes(bench)
    bench.home = small_disk
    with pytest.raises(SpaceError, match="no space left"):
        bench.fetch()


def test_an_unpacking_process_that_is_killed_ends_the_fetch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_volumes(bench)
    started: list[Any] = []
    start = bench.scope.start

    def remember(*args: Any, **options: Any) -> Any:
        started.append(start(*args, **options))
        return started[-1]

    monkeypatch.setattr(bench.scope, "start", remember)

    class Stalled(Remote):
        def open(self, key: str) -> Any:
            started[0].send(signal.SIGKILL)
            return super().open(key)

    with pytest.raises(ToolError, match="signal 9"):
        bench.fetch(storage=Stalled(bench.storage), jobs=1)


def test_a_closed_scope_ends_the_fetch(bench: Bench) -> None:
    three_volumes(bench)

    class Closing(Remote):
        def open(self, key: str) -> Any:
            bench.scope.close()
            return super().open(key)

    with pytest.raises(ToolError, match="the work was stopped"):
        bench.fetch(storage=Closing(bench.storage))


def sealed_tar(bench: Bench, data: bytes) -> None:
    """A volume that the cutter would not have made."""
    bench.objects.append(seal([data], bench.attempt.path("base-0001.tar.zst.age"), recipients=[RECIPIENT]))
    bench.store()


@pytest.mark.parametrize(
    "data",
    [
        tar_of([("../outside", b"x")]),
        tar_of([("/tmp/pra-outside", b"x")]),
        tar_of([("base/../../outside", b"x")]),
        tar_of([], links=(("base/5", "/etc"),)),
        tar_of([], links=(("pg_tblspc/16385", "/etc"),)),
    ],
    ids=["parent", "absolute", "parent inside", "link", "unknown tablespace"],
)
def test_nothing_leads_out_of_the_directory(bench: Bench, data: bytes) -> None:
    sealed_tar(bench, data)
    with pytest.raises(IntegrityError):
        bench.fetch()
    assert not (bench.home / "outside").exists()
    assert not Path("/tmp/pra-outside").exists()
    assert not any(path.is_symlink() for path in (bench.home / "data").rglob("*"))


def test_a_file_that_comes_twice_is_refused(bench: Bench) -> None:
    sealed_tar(bench, tar_of([("base/5/1", b"x"), ("base/5/1", b"y")]))
    with pytest.raises(IntegrityError, match="base/5/1 twice"):
        bench.fetch()


def test_a_volume_that_is_cut_in_its_middle_is_refused(bench: Bench) -> None:
    sealed_tar(bench, tar_of([("base/5/1", b"x" * 5000)])[:2048])
    with pytest.raises(IntegrityError, match="ends before"):
        bench.fetch()


def test_without_a_control_file_it_is_no_base_backup(bench: Bench) -> None:
    bench.cut(tar_of([("base/5/1", b"x")]))
    bench.store()
    with pytest.raises(IntegrityError, match="no global/pg_control"):
        bench.fetch()


def test_a_directory_that_is_not_empty_is_left_alone(bench: Bench) -> None:
    bench.cut(tar_of([CONTROL]))
    bench.store()
    (bench.home / "data").mkdir()
    (bench.home / "data/mine").write_text("x")
    with pytest.raises(UsageError, match="not an empty directory"):
        bench.fetch()
    assert files_below(bench.home / "data") == {"mine": b"x"}


def test_a_tablespace_without_a_place_is_asked_for(bench: Bench) -> None:
    bench.cut(tar_of([CONTROL]))
    bench.store()
    manifest = SimpleNamespace(
        objects=tuple(bench.objects),
        bytes=1,
        physical=SimpleNamespace(tablespaces=(Tablespace(oid=7, location="/fast"),)),
    )
    (bench.home / "data").mkdir()
    with pytest.raises(UsageError, match="the tablespace at /fast") as caught:
        fetch_base(
            bench.storage,
            lambda name: name,
            cast(Manifest, manifest),
            bench.home / "data",
            scope=bench.scope,
            identities=[IDENTITY],
        )
    assert "--tablespace /fast=" in caught.value.hint


def test_errors_cross_from_process_to_process_whole() -> None:
    from pra.engines.beside import error_document, error_from

    error = SpaceError("full", op="seal", hint="Free some.", transient=True)
    back = error_from(error_document(error))
    assert isinstance(back, SpaceError)
    assert (back.message, back.op, back.hint, back.transient) == ("full", "seal", "Free some.", True)
    assert isinstance(back, PraError)
