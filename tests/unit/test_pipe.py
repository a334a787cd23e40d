"""Sealing and unsealing: exact round trips, standard formats, and every damage noticed before the end."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pra.errors import DecryptError, IntegrityError, SettingsError, SpaceError, StorageError
from pra.model import StoredObject
from pra.storage.pipe import seal, unseal, verify_stored
from tests.requirements import require

KEY = pyrage.x25519.Identity.generate()
IDENTITY, RECIPIENT = str(KEY), str(KEY.to_public())
OTHER = str(pyrage.x25519.Identity.generate())
# Around the chunk of our pipe (1 MiB), its block (2 MiB), age's chunk (64 KiB) and zstd's block (128 KiB).
EDGES = [0, 1, 65535, 65536, 65537, 131072, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20, (9 << 20) + 1]


def opened(path: Path, stored: StoredObject, *identities: str) -> bytes:
    with path.open("rb") as source, unseal(source, stored, identities=identities) as plain:
        return plain.read()


@pytest.mark.parametrize("recipients", [[RECIPIENT], []], ids=["encrypted", "plain"])
@pytest.mark.parametrize("compress", [True, False], ids=["compressed", "framed"])
@pytest.mark.parametrize("threads", [0, 3], ids=["one frame", "blocks"])
@pytest.mark.parametrize("size", EDGES)
def test_round_trip_at_the_edges(
    tmp_path: Path, size: int, threads: int, compress: bool, recipients: list[str]
) -> None:
    data, path = os.urandom(size), tmp_path / "object.zst.age"
    stored = seal(io.BytesIO(data), path, recipients=recipients, compress=compress, threads=threads)
    assert opened(path, stored, IDENTITY) == data
    assert stored.name == path.name
    assert (stored.plain_bytes, stored.plain_sha256) == (size, hashlib.sha256(data).hexdigest())
    landed = path.read_bytes()
    assert (stored.bytes, stored.sha256) == (len(landed), hashlib.sha256(landed).hexdigest())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.binary(max_size=5000) | st.integers(0, 400_000).map(lambda n: b"row\t" * n), max_size=6
    ),
    level=st.integers(-5, 6),
    reads=st.integers(1, 300_000),
)
def test_round_trip_of_any_pieces_read_in_any_steps(
    tmp_path: Path, pieces: list[bytes], level: int, reads: int
) -> None:
    path = tmp_path / "object"
    stored = seal(pieces, path, recipients=[RECIPIENT], level=level)
    with path.open("rb") as source, unseal(source, stored, identities=[OTHER, IDENTITY]) as plain:
        steps = iter(lambda: plain.read(reads), b"")
        digest = hashlib.sha256()
        for step in steps:
            digest.update(step)
    assert digest.hexdigest() == hashlib.sha256(b"".join(pieces)).hexdigest()


class Trickle(io.RawIOBase):
    """A source that gives as little as it may, as a pipe or a socket does."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, random.randint(1, 7000)) if size > 0 else size)


def test_sources_that_give_short_reads(tmp_path: Path) -> None:
    data, path = os.urandom(300_000), tmp_path / "object"
    stored = seal(cast("BinaryIO", Trickle(data)), path, recipients=[RECIPIENT])
    trickle = cast("BinaryIO", Trickle(path.read_bytes()))
    with unseal(trickle, stored, identities=[IDENTITY]) as plain:
        assert plain.read() == data
    verify_stored(cast("BinaryIO", Trickle(path.read_bytes())), stored)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("compress", [True, False])
def test_age_and_zstd_alone_recover_it(tmp_path: Path, compress: bool, threads: int) -> None:
    age, zstd = shutil.which("age"), shutil.which("zstd")
    require("age", age is not None)
    require("zstd", zstd is not None)
    data, path, keys = (
        os.urandom(200_000) + b"text " * 1_000_000,
        tmp_path / "o.zst.age",
        tmp_path / "identity",
    )
    seal(io.BytesIO(data), path, recipients=[RECIPIENT], compress=compress, threads=threads)
    keys.write_text(f"{IDENTITY}\n")
    frame = subprocess.run([str(age), "-d", "-i", keys, path], check=True, capture_output=True).stdout
    plain = subprocess.run([str(zstd), "-d", "-c"], check=True, capture_output=True, input=frame).stdout
    assert plain == data


def test_what_age_and_zstd_alone_made_is_read(tmp_path: Path) -> None:
    age, zstd = shutil.which("age"), shutil.which("zstd")
    require("age", age is not None)
    require("zstd", zstd is not None)
    data = b"from another hand\n" * 100_000
    frame = subprocess.run([str(zstd), "-c"], check=True, capture_output=True, input=data).stdout
    sealed = subprocess.run(
        [str(age), "-r", RECIPIENT, "-r", str(pyrage.x25519.Identity.from_str(OTHER).to_public())],
        check=True, capture_output=True, input=frame,
    ).stdout  # fmt: skip
    digests = (hashlib.sha256(sealed).hexdigest(), hashlib.sha256(data).hexdigest())
    stored = StoredObject("o", len(sealed), digests[0], len(data), digests[1])
    with unseal(io.BytesIO(sealed), stored, identities=[OTHER]) as plain:
        assert plain.read() == data


# -- damage ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, StoredObject, bytes]:
    """Sealed bytes, what they are, and the plaintext: a few chunks of ours long."""
    path = tmp_path_factory.mktemp("sample") / "dump-0001.tar.zst.age"
    plain = os.urandom(3_000_000) + b"\0" * 500_000
    stored = seal(io.BytesIO(plain), path, recipients=[RECIPIENT])
    return path.read_bytes(), stored, plain


def read_until_refused(data: bytes, stored: StoredObject, *identities: str) -> tuple[bytes, IntegrityError]:
    """What was handed out before the damage was found, and what was said then."""
    got = bytearray()
    try:
        for step in read_in_steps(data, stored, *identities):
            got += step
    except IntegrityError as error:
        return bytes(got), error
    pytest.fail("the damage was not noticed")


def read_in_steps(data: bytes, stored: StoredObject, *identities: str) -> Iterator[bytes]:
    with unseal(io.BytesIO(data), stored, identities=identities) as plain:
        while step := plain.read(10_000):
            yield step


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_named_and_the_end_is_never_reached(
    sample: tuple[bytes, StoredObject, bytes], where: float, bit: int
) -> None:
    data, stored, plain = sample
    offset = int(where * len(data))
    damaged = data[:offset] + bytes([data[offset] ^ (1 << bit)]) + data[offset + 1 :]
    got, error = read_until_refused(damaged, stored, IDENTITY)
    assert len(got) < len(plain)
    assert plain.startswith(got)
    message = str(error)
    assert stored.name in message
    assert f"expected {stored.bytes} bytes, sha256 {stored.sha256}" in message
    assert f"observed {stored.bytes} bytes, sha256 {hashlib.sha256(damaged).hexdigest()}" in message
    with pytest.raises(IntegrityError, match=stored.name):
        verify_stored(io.BytesIO(damaged), stored)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True))
def test_a_truncated_object_is_named(sample: tuple[bytes, StoredObject, bytes], where: float) -> None:
    data, stored, _ = sample
    short = data[: int(where * len(data))]
    with pytest.raises(IntegrityError, match=f"observed {len(short)} bytes"):
        list(read_in_steps(short, stored, IDENTITY))
    with pytest.raises(IntegrityError, match=f"observed {len(short)} bytes"):
        verify_stored(io.BytesIO(short), stored)


def test_a_lengthened_object_is_named_without_reading_it_all(
    sample: tuple[bytes, StoredObject, bytes],
) -> None:
    data, stored, _ = sample
    endless = io.BytesIO(data + b"x" * (64 << 20))
    with pytest.raises(IntegrityError, match=f"observed more than {stored.bytes} bytes"):
        verify_stored(endless, stored)
    assert endless.tell() < 8 << 20
    with pytest.raises(IntegrityError, match="observed more than"):
        list(read_in_steps(data + b"x", stored, IDENTITY))


def test_another_object_with_a_whole_body_is_not_taken(tmp_path: Path) -> None:
    first = seal([b"first"], tmp_path / "a", recipients=[RECIPIENT])
    seal([b"other"], tmp_path / "b", recipients=[RECIPIENT])
    with pytest.raises(IntegrityError, match="stored bytes of a"):
        opened(tmp_path / "b", first, IDENTITY)


@pytest.mark.parametrize(
    "lie",
    [
        lambda stored: replace(stored, plain_sha256="0" * 64),
        lambda stored: replace(stored, plain_bytes=stored.plain_bytes - 1),
        lambda stored: replace(stored, plain_bytes=stored.plain_bytes + 1),
    ],
)
def test_plaintext_other_than_recorded_is_not_taken(
    sample: tuple[bytes, StoredObject, bytes], lie: Callable[[StoredObject], StoredObject]
) -> None:
    data, stored, plain = sample
    got, error = read_until_refused(data, lie(stored), IDENTITY)
    assert 0 < len(got) < len(plain)
    assert "plain bytes of dump-0001" in error.message


def test_unencrypted_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "o.zst"
    stored = seal([b"some text " * 100_000], path, recipients=[])
    whole = path.read_bytes()
    for offset in range(0, len(whole), 7):
        damaged = whole[:offset] + bytes([whole[offset] ^ 0x10]) + whole[offset + 1 :]
        with pytest.raises(IntegrityError, match="observed"):
            list(read_in_steps(damaged, stored))


def test_a_reader_that_stops_before_the_end_still_learns_of_damage(
    sample: tuple[bytes, StoredObject, bytes],
) -> None:
    data, stored, _ = sample
    lie = replace(stored, plain_sha256="0" * 64)  # which only the very end can show
    with pytest.raises(IntegrityError, match="plain bytes"), _unsealed(data, lie) as plain:
        plain.read(1)
    with _unsealed(data, lie) as plain:
        plain.read(1)
        plain.close()  # says on purpose that the rest does not matter


def _unsealed(data: bytes, stored: StoredObject) -> AbstractContextManager[BinaryIO]:
    return unseal(io.BytesIO(data), stored, identities=[IDENTITY])


def test_a_caught_error_does_not_turn_into_an_end(sample: tuple[bytes, StoredObject, bytes]) -> None:
    data, stored, _ = sample
    with pytest.raises(IntegrityError), _unsealed(data[:-1], stored) as plain:
        read_and_forgive(plain)


def read_and_forgive(plain: BinaryIO) -> None:
    for _ in range(3):
        with pytest.raises(IntegrityError):
            plain.read()


# -- keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize("identities", [[], [OTHER]], ids=["none", "wrong"])
def test_without_the_identity_the_error_says_what_to_do(
    sample: tuple[bytes, StoredObject, bytes], identities: list[str]
) -> None:
    data, stored, _ = sample
    with pytest.raises(DecryptError, match=stored.name) as caught:
        list(read_in_steps(data, stored, *identities))
    assert "identity_file" in caught.value.hint
    assert not caught.value.transient


def test_a_malformed_identity_is_not_repeated_in_the_error(
    sample: tuple[bytes, StoredObject, bytes],
) -> None:
    data, stored, _ = sample
    typo = IDENTITY[:-1]
    with pytest.raises(SettingsError) as caught:
        list(read_in_steps(data, stored, typo))
    assert typo[20:40] not in str(caught.value)


def test_a_malformed_recipient_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="age recipient"):
        seal([b"x"], tmp_path / "o", recipients=["age1nonsense"])
    assert list(tmp_path.iterdir()) == []


# -- failures on the way -----------------------------------------------------------------------


class Breaks:
    def read(self, size: int) -> bytes:
        raise StorageError("the line went dead", op="test")


def test_a_source_that_fails_leaves_nothing_and_keeps_its_error(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield os.urandom(5 << 20)
        raise StorageError("the dump died", op="test")

    with pytest.raises(StorageError, match="the dump died"):
        seal(pieces(), tmp_path / "o", recipients=[RECIPIENT])
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_fails_is_no_damage(sample: tuple[bytes, StoredObject, bytes]) -> None:
    _, stored, _ = sample
    with (
        pytest.raises(StorageError, match="the line went dead"),
        unseal(cast("BinaryIO", Breaks()), stored, identities=[IDENTITY]) as plain,
    ):
        plain.read()


def test_a_full_disk_is_said_so_and_leaves_nothing(small_disk: Path) -> None:
    with pytest.raises(SpaceError, match="no space left") as caught:
        seal([os.urandom(8 << 20)], small_disk / "o", recipients=[RECIPIENT])
    assert "PRA_STATE_DIR" in caught.value.hint
    assert list(small_disk.iterdir()) == []


def test_a_missing_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file"):
        seal([b"x"], tmp_path / "none" / "o", recipients=[RECIPIENT])


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """Half a gigabyte that compresses a thousandfold, through a process of its own, to see its peak."""
    program = """
import io, resource, sys
from pathlib import Path
from pra.storage.pipe import seal, unseal
recipient, identity, folder = sys.argv[1:]
path = Path(folder) / "o"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stored = seal((b"\\0" * (1 << 20) for _ in range(512)), path, recipients=[recipient], durable=False)
with path.open("rb") as source, unseal(source, stored, identities=[identity]) as plain:
    while plain.read(1 << 16):
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, RECIPIENT, IDENTITY, str(tmp_path)],
        check=True, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert int(done.stdout) < 48
