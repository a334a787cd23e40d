"""PostgreSQL's page checksum in Python: to change a page behind everybody's back, checksum and all.

The algorithm is that of ``storage/checksum_impl.h``: FNV-1a in 32 lanes over the page as 32-bit words, the
checksum field zero, mixed with the block's number.
"""

from __future__ import annotations

import struct
from pathlib import Path

PAGE = 8192
_LANES = 32
_PRIME = 16777619
_MASK = 0xFFFFFFFF
_BASES = (
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
)  # fmt: skip


def checksum(page: bytes, block: int) -> int:
    """The value of ``pd_checksum`` for this page."""
    words = struct.unpack("<2048I", page[:8] + b"\0\0" + page[10:])
    sums = list(_BASES)
    for row in range(0, len(words), _LANES):
        for lane in range(_LANES):
            sums[lane] = _mix(sums[lane], words[row + lane])
    for _ in range(2):
        sums = [_mix(value, 0) for value in sums]
    total = 0
    for value in sums:
        total ^= value
    return (total ^ block) % 65535 + 1


def _mix(value: int, word: int) -> int:
    mixed = value ^ word
    return ((mixed * _PRIME) & _MASK) ^ (mixed >> 17)


def replace_bytes(file: Path, old: bytes, new: bytes, *, with_checksum: bool) -> None:
    """Change the first occurrence of some bytes in a relation's file."""
    assert len(old) == len(new)
    data = bytearray(file.read_bytes())
    at = data.find(old)
    assert at >= 0, f"{old!r} is not in {file}"
    data[at : at + len(new)] = new
    if with_checksum:
        block = at // PAGE
        page = bytes(data[block * PAGE : (block + 1) * PAGE])
        struct.pack_into("<H", data, block * PAGE + 8, checksum(page, block))
    with file.open("r+b") as handle:
        handle.write(data)
