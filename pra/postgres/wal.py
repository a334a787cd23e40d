"""Positions and names in the write-ahead log: LSN, segment, timeline. Pure arithmetic.

A WAL position (LSN) is a byte offset of 64 bits, an ``int`` here and ``0/16B3748`` where PostgreSQL or a
person reads it. A segment file is named by its timeline and its number: ``TTTTTTTTXXXXXXXXYYYYYYYY``, where
XXXXXXXX is the high half of the LSN and YYYYYYYY counts segments within those 4 GiB (``XLogFileName`` in
``access/xlog_internal.h``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pra.errors import UsageError

SEGMENT_BYTES = 16 << 20
"""PostgreSQL's default; ``initdb --wal-segsize`` makes others, so every function takes it."""
PAGE_BYTES = 8192
SEGMENT = re.compile(r"[0-9A-F]{24}")
HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_BLOCK = 1 << 32


def parse_lsn(text: str) -> int:
    """``0/16B3748`` as a byte position.

    Raises:
        UsageError: It is not one.
    """
    match = _LSN.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a WAL position: {text[:40]!r}", op="read LSN", hint="Write it as 0/16B3748.")
    return (int(match[1], 16) << 32) | int(match[2], 16)


def format_lsn(lsn: int) -> str:
    """As PostgreSQL prints it: ``0/16B3748``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def segment_name(timeline: int, lsn: int, segment_bytes: int = SEGMENT_BYTES) -> str:
    """The segment that holds the byte at ``lsn``."""
    number = lsn // segment_bytes
    per_block = _BLOCK // segment_bytes
    return f"{timeline:08X}{number // per_block:08X}{number % per_block:08X}"


def segment_timeline(name: str) -> int:
    return int(name[:8], 16)


def segment_start(name: str, segment_bytes: int = SEGMENT_BYTES) -> int:
    """The position of a segment's first byte."""
    return (int(name[8:16], 16) * (_BLOCK // segment_bytes) + int(name[16:24], 16)) * segment_bytes


def segment_end(name: str, segment_bytes: int = SEGMENT_BYTES) -> int:
    """The position just behind a segment."""
    return segment_start(name, segment_bytes) + segment_bytes


def next_segment(name: str, segment_bytes: int = SEGMENT_BYTES) -> str:
    return segment_name(segment_timeline(name), segment_end(name, segment_bytes), segment_bytes)


def segments_between(
    timeline: int, start: int, stop: int, segment_bytes: int = SEGMENT_BYTES
) -> tuple[str, ...]:
    """The segments that hold the bytes from ``start`` up to, not including, ``stop``; at least the first.

    Example: from 0/2000028 to 0/3000000 it is ``000000010000000000000002`` alone.
    """
    last = max(start, stop - 1) // segment_bytes
    first = start // segment_bytes
    return tuple(segment_name(timeline, n * segment_bytes, segment_bytes) for n in range(first, last + 1))


def begun_bytes(name: str, lsn: int) -> int | None:
    """How many of a segment's bytes lie before ``lsn``, which is inside of it or its end; None if it is not.

    Whatever size the server's segments have: of the powers of two that ``initdb --wal-segsize`` takes, 1 MiB
    to 1 GiB, only one puts that position into the segment of that name.
    """
    within, number = lsn - (int(name[8:16], 16) << 32), int(name[16:24], 16)
    sizes = (1 << power for power in range(20, 31))
    return next((within - number * s for s in sizes if number * s < within <= (number + 1) * s), None)


def record_start(end: int, segment_bytes: int = SEGMENT_BYTES) -> int:
    """Where the record behind one that ends here begins: a page's header comes first, a longer one in a
    segment's first page (``SizeOfXLogShortPHD``, ``SizeOfXLogLongPHD`` in ``access/xlog_internal.h``).
    """
    if end % segment_bytes == 0:
        return end + 40
    return end + 24 if end % PAGE_BYTES == 0 else end


def history_name(timeline: int) -> str:
    return f"{timeline:08X}.history"


@dataclass(frozen=True)
class Switch:
    """One line of a history file: ``timeline`` was left at ``lsn``."""

    timeline: int
    lsn: int


def parse_history(text: str) -> tuple[Switch, ...]:
    """The ancestors that a ``.history`` file names, oldest first.

    Raises:
        UsageError: A line is neither a comment nor ``timeline<TAB>lsn…``, or they are out of order.
    """
    found: list[Switch] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(None, 2)
        if not words:
            continue
        if len(words) < 2 or not words[0].isdigit():
            raise UsageError("not a timeline history file", op="read timeline history")
        switch = Switch(int(words[0]), parse_lsn(words[1]))
        if found and (switch.timeline <= found[-1].timeline or switch.lsn < found[-1].lsn):
            raise UsageError("a timeline history file is out of order", op="read timeline history")
        found.append(switch)
    return tuple(found)
