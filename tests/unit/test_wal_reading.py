"""Stored WAL comes back whole or not at all: what is cut short must never look like the end of the WAL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from pra.errors import IntegrityError
from pra.postgres.wal import begun_bytes, segment_name
from pra.storage.local import LocalStorage
from pra.storage.pipe import seal
from pra.wal.archive import ArchivedPartial, ArchivedSegment, read_archive
from pra.wal.reading import read_segment
from pra.wal.shipping import seal_segment, ship, ship_partial

SIZE = 1 << 20
SERVER = "7000000000000000001"
NAME = segment_name(1, 3 * SIZE, SIZE)
DATA = bytes(range(256)) * (SIZE // 256)
BEGUN = SIZE // 2


@dataclass
class Shelf:
    """A repository and what opens it."""

    storage: LocalStorage
    folder: Path
    key: pyrage.x25519.Identity | None

    @property
    def recipients(self) -> list[str]:
        return [str(self.key.to_public())] if self.key else []

    def read(self, entry: ArchivedPartial | ArchivedSegment) -> bytes:
        return read_segment(self.storage, entry, [str(self.key)] if self.key else [])

    def partial(self, data: bytes, lsn: int = 3 * SIZE + BEGUN) -> ArchivedPartial:
        path = self.folder / f"begun.zst{'.age' if self.key else ''}"
        ship_partial(
            self.storage, "db", SERVER, NAME, lsn, path, seal([data], path, recipients=self.recipients)
        )
        return read_archive(self.storage, "db", SERVER).partials[NAME]

    def segment(self) -> ArchivedSegment:
        sealed = seal_segment(DATA, NAME, self.folder, system_id=SERVER, recipients=self.recipients)
        ship(self.storage, "db", sealed, retain_until=None)
        found = read_archive(self.storage, "db", SERVER).find(NAME)
        assert found is not None
        return found

    def change(self, key: str, how: Callable[[bytes], bytes]) -> None:
        path = self.storage.root / key
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(how(data))


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def shelf(request: pytest.FixtureRequest, local_store: LocalStorage, tmp_path: Path) -> Shelf:
    key = pyrage.x25519.Identity.generate() if request.param else None
    return Shelf(local_store, tmp_path, key)


# What is left of a stored object; of the unencrypted one zstd's checksum and end are in the last bytes.
CUT: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda data: data[: len(data) // 2],
    "its last byte": lambda data: data[:-1],
    "its last block and checksum": lambda data: data[:-8],
}


@pytest.mark.parametrize("how", CUT)
def test_a_beginning_that_was_cut_short_is_refused(shelf: Shelf, how: str) -> None:
    entry = shelf.partial(DATA[:BEGUN])
    assert shelf.read(entry) == DATA[:BEGUN]
    shelf.change(entry.key, CUT[how])
    with pytest.raises(IntegrityError, match=f"{NAME} in local"):
        shelf.read(entry)


@pytest.mark.parametrize("how", CUT)
def test_a_segment_that_was_cut_short_is_refused(shelf: Shelf, how: str) -> None:
    entry = shelf.segment()
    assert shelf.read(entry) == DATA
    shelf.change(entry.key, CUT[how])
    with pytest.raises(IntegrityError, match=f"{NAME} in local"):
        shelf.read(entry)


def test_a_flipped_bit_in_a_beginning_is_found_by_its_checksum(shelf: Shelf) -> None:
    entry = shelf.partial(DATA[:BEGUN])
    shelf.change(entry.key, lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    with pytest.raises(IntegrityError, match=f"{NAME} in local"):
        shelf.read(entry)


def test_a_beginning_shorter_than_its_key_says_is_refused(shelf: Shelf) -> None:
    """Sealed whole, of too little: every checksum fits."""
    entry = shelf.partial(DATA[: BEGUN - 1])
    with pytest.raises(IntegrityError, match=f"has {BEGUN - 1} bytes, and its key promises {BEGUN}"):
        shelf.read(entry)


def test_a_beginning_that_leads_further_is_read_as_far_as_its_key_says(shelf: Shelf) -> None:
    assert shelf.read(shelf.partial(DATA)) == DATA[:BEGUN]


def test_a_beginning_of_another_segment_is_refused(shelf: Shelf) -> None:
    entry = shelf.partial(DATA, lsn=9 << 32)
    with pytest.raises(IntegrityError, match="names LSN 9/0, which is not in that segment"):
        shelf.read(entry)


def test_several_frames_are_one_segment_and_what_follows_them_is_damage(local_store: LocalStorage) -> None:
    shelf = Shelf(local_store, local_store.root, None)
    entry = shelf.partial(DATA[:BEGUN])
    shelf.change(entry.key, lambda data: data + data)
    assert shelf.read(entry) == DATA[:BEGUN]
    shelf.change(entry.key, lambda data: data + b"and more")
    with pytest.raises(IntegrityError, match="cannot be decompressed"):
        shelf.read(entry)


@pytest.mark.parametrize("size", [1 << power for power in range(20, 31)])
@pytest.mark.parametrize("number", [0, 1, 2, 3, 255, 4095])
def test_how_much_of_a_segment_has_begun_is_known_without_its_size(size: int, number: int) -> None:
    for lsn in (number * size + 1, number * size + size // 2, (number + 1) * size):
        name = segment_name(1, lsn - 1, size)
        assert begun_bytes(name, lsn) == lsn - number * size
