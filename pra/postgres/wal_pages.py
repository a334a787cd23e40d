"""What a WAL segment's pages say about themselves (``access/xlog_internal.h``, ``xlogrecord.h``). Pure."""

from __future__ import annotations

import struct

_HEADER = struct.Struct("<HHIQI")  # magic, flags, timeline, address, what is left of a record begun before
_LENGTH = struct.Struct("<I")
_SHORT, _LONG = 24, 40  # bytes of a page's header, and of the first one's in a segment
_PAGE_BYTES_AT = 36
_CONTINUES, _IS_LONG = 1, 2
_LEAST = 24  # bytes of a record


def holds_record(segment: bytes) -> bool:
    """Whether a whole record begins in this segment; also when its bytes are none of WAL.

    None does where a record fills it that began in a segment before, or where what was received of it ends in
    its first record; behind that there are zeros.
    """
    if len(segment) < _LONG:
        return True
    _, flags, _, _, left = _HEADER.unpack_from(segment)
    (page,) = _LENGTH.unpack_from(segment, _PAGE_BYTES_AT)
    if not flags & _IS_LONG or page < _LONG or page & (page - 1):
        return True
    end = len(segment.rstrip(b"\0"))
    first = _LONG
    if flags & _CONTINUES:
        first = -8 * (-_behind(_LONG, left, page) // 8)
        first += _SHORT if first % page == 0 else 0
    if first + _LENGTH.size > end:
        return False
    (length,) = _LENGTH.unpack_from(segment, first)
    return length < _LEAST or _behind(first, length, page) <= end


def _behind(position: int, count: int, page: int) -> int:
    """The position behind ``count`` bytes of a record, the pages' headers among them left out."""
    room = page - position % page
    if count <= room:
        return position + count
    pages, rest = divmod(count - room, page - _SHORT)
    return position + room + pages * page + (_SHORT + rest if rest else 0)
