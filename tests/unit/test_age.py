"""Our age files are age files: held against another implementation, both ways, and against damage."""

from __future__ import annotations

import io
import os

import pyrage
import pytest

from pra.storage import age

KEYS = [pyrage.x25519.Identity.generate() for _ in range(3)]
CHUNK = age.CHUNK
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 16 * CHUNK, 16 * CHUNK + 1, (3 << 20) + 7]
STEPS = [1 << 20, 100_000, CHUNK, 7_777]


def sealed(data: bytes, *keys: pyrage.x25519.Identity, step: int = 1 << 20) -> bytes:
    header, key = age.make_header([str(one.to_public()) for one in keys])
    out = bytearray(header)
    encryptor = age.Encryptor(key, out.__iadd__)
    for start in range(0, len(data), step):
        encryptor.update(data[start : start + step])
    encryptor.finish()
    return bytes(out)


def opened(data: bytes, *keys: pyrage.x25519.Identity, step: int = 1 << 20) -> bytes:
    stream = io.BytesIO(data)
    decryptor = age.Decryptor(age.open_header(stream.read, [str(one) for one in keys]))
    out = bytearray()
    while piece := stream.read(step):
        out += decryptor.update(piece)
    return bytes(out + decryptor.finish())


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("size", SIZES)
def test_what_we_seal_others_open(size: int, step: int) -> None:
    data = os.urandom(size)
    file = sealed(data, KEYS[0], KEYS[1], step=step)
    assert pyrage.decrypt(file, [KEYS[0]]) == data
    assert pyrage.decrypt(file, [KEYS[1]]) == data


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("size", SIZES)
def test_what_others_seal_we_open(size: int, step: int) -> None:
    data = os.urandom(size)
    file = pyrage.encrypt(data, [KEYS[0].to_public(), KEYS[1].to_public()])
    assert opened(file, KEYS[2], KEYS[1], step=step) == data


def test_stanzas_of_other_kinds_are_passed_over() -> None:
    """age lets implementations add what readers must not choke on, with bodies of any length."""
    known = sealed(b"rows", KEYS[0])
    header, rest = known.split(b"\n---", 1)
    body = b"-> other-kind some args\n" + b"A" * 64 + b"\n" + b"A" * 64 + b"\n\n"
    grease = header.replace(b"-> X25519", body + b"-> X25519", 1)
    with pytest.raises(age.AgeError, match="header was changed"):  # read, and the MAC is over it
        opened(grease + b"\n---" + rest, KEYS[0])


def test_two_files_of_the_same_bytes_differ() -> None:
    assert sealed(b"same", KEYS[0]) != sealed(b"same", KEYS[0])


def test_a_key_that_does_not_fit_is_told_from_damage() -> None:
    with pytest.raises(age.NoKey):
        opened(sealed(b"x", KEYS[0]), KEYS[1])


@pytest.mark.parametrize("place", [30, 60, 120, 170, 200, 230, 1000, 70_000, -1])
def test_any_byte_changed_is_noticed(place: int) -> None:
    file = bytearray(sealed(os.urandom(100_000), KEYS[0]))
    file[place] ^= 1
    with pytest.raises(age.AgeError):
        opened(bytes(file), KEYS[0])


@pytest.mark.parametrize("data", [2 * CHUNK, 2 * CHUNK + 5, 10, 0], ids=str)
def test_no_prefix_passes_for_the_whole(data: int) -> None:
    """Cut at a chunk's border too, where only the mark on the last chunk tells."""
    file = sealed(os.urandom(data), KEYS[0])
    payload = len(file) - data - age.TAG * max(1, -(-data // CHUNK))
    borders = [payload + n * (CHUNK + age.TAG) for n in range(data // CHUNK + 1)]
    for length in {0, 10, 100, payload - 1, payload, *borders, len(file) - 1} - {len(file)}:
        with pytest.raises(age.AgeError):
            opened(file[:length], KEYS[0])


def test_nothing_may_follow_the_last_chunk() -> None:
    file = sealed(b"rows", KEYS[0])
    for more in (b"x", file, sealed(os.urandom(CHUNK), KEYS[0])):
        with pytest.raises(age.AgeError):
            opened(file + more, KEYS[0])


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"age-encryption.org/v1\n",
        b"age-encryption.org/v1\n-> X25519 !!!\nAAAA\n--- AAAA\n",
        b"age-encryption.org/v1\n-> X25519 AAAA\n" + b"A" * 43 + b"\n--- AAAA\n",
        b"age-encryption.org/v1\nnonsense\n",
        b"age-encryption.org/v1\n-> X25519 " + b"A" * (2 << 20),
        b"age-encryption.org/v2\n",
        b"\xff" * 100,
    ],
    ids=["empty", "magic", "base64", "short share", "no stanza", "endless", "version", "binary"],
)
def test_a_header_that_makes_no_sense_is_an_error_of_ours(header: bytes) -> None:
    with pytest.raises(age.AgeError):
        opened(header, KEYS[0])
