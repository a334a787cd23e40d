"""What WAL is there, how far it leads, where it has holes: from a listing alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyrage
import pytest

from pra.errors import DecryptError, IntegrityError, StorageError
from pra.layout import wal_history_key, wal_partial_key, wal_segment_key
from pra.postgres.wal import Switch, segment_name
from pra.storage.base import Storage
from pra.storage.local import LocalStorage
from pra.storage.pipe import seal
from pra.wal.archive import (
    Archive,
    along,
    covered_until,
    gaps,
    load_histories,
    missing,
    missing_exact,
    names_along,
    read_archive,
    systems,
)
from pra.wal.catching_up import lacking_from
from pra.wal.reading import read_segment
from pra.wal.shipping import seal_segment, sealed_from, ship, ship_history, ship_partial

SIZE = 1 << 20
SERVER = "7000000000000000001"


def seg(timeline: int, number: int) -> str:
    return segment_name(timeline, number * SIZE, SIZE)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def archive_of(
    store: LocalStorage, *names: str, partials: tuple[tuple[str, int], ...] = (), history: str = ""
) -> Archive:
    """An archive of these segments; ``history`` is the text of timeline 2's."""
    for name in names:
        store.create(wal_segment_key("db", SERVER, name, sha(name), encrypted=False), b"x")
    for name, lsn in partials:
        store.create(wal_partial_key("db", SERVER, name, lsn, encrypted=False), b"x")
    if history:
        store.create(wal_history_key("db", SERVER, 2, sha(history)), history.encode())
    return read_archive(store, "db", SERVER)


def test_a_listing_names_servers_segments_histories_and_the_longest_beginning(
    local_store: LocalStorage,
) -> None:
    archive = archive_of(
        local_store,
        seg(1, 3),
        seg(1, 4),
        partials=((seg(1, 4), 4 * SIZE + 10), (seg(1, 5), 5 * SIZE + 7), (seg(1, 5), 5 * SIZE + 9)),
        history="1\t0/450000\tno recovery target specified\n",
    )
    assert systems(local_store, "db") == (SERVER,)
    assert sorted(archive.segments) == [seg(1, 3), seg(1, 4)]
    assert {name: one.lsn for name, one in archive.partials.items()} == {seg(1, 5): 5 * SIZE + 9}
    assert [one.lsn for one in archive.stale] == [4 * SIZE + 10, 5 * SIZE + 7]
    assert archive.timelines == (1, 2)
    assert load_histories(local_store, archive)[2][0].lsn == 0x450000
    assert missing(archive, [seg(1, 3), seg(1, 5)]) == (seg(1, 5),)
    assert missing_exact(archive, [(seg(1, 3), sha("other"))]) == (seg(1, 3),)


def test_an_empty_object_is_no_segment(local_store: LocalStorage) -> None:
    local_store.create(wal_segment_key("db", SERVER, seg(1, 3), sha("x"), encrypted=False), b"")
    assert read_archive(local_store, "db", SERVER).segments == {}


@pytest.mark.parametrize(
    ("numbers", "partial", "start", "expected"),
    [
        pytest.param([3, 4], None, 3 * SIZE + 5, 5 * SIZE, id="to the end of the last whole segment"),
        pytest.param([3, 4], (5, 99), 3 * SIZE, 5 * SIZE + 99, id="into the unfinished one"),
        pytest.param([3, 5], (6, 99), 3 * SIZE, 4 * SIZE, id="stops at a hole"),
        pytest.param([4], None, 3 * SIZE + 5, 3 * SIZE + 5, id="nothing of the first segment"),
        pytest.param([], (3, 9), 3 * SIZE + 5, 3 * SIZE + 9, id="only a beginning"),
        pytest.param([], (3, 3), 3 * SIZE + 5, 3 * SIZE + 5, id="a beginning that ends before the start"),
    ],
)
def test_coverage_ends_at_the_first_missing_byte(
    local_store: LocalStorage,
    numbers: list[int],
    partial: tuple[int, int] | None,
    start: int,
    expected: int,
) -> None:
    partials = ((seg(1, partial[0]), partial[0] * SIZE + partial[1]),) if partial else ()
    archive = archive_of(local_store, *(seg(1, n) for n in numbers), partials=partials)
    assert covered_until(archive, 1, start, SIZE) == expected


HISTORY = f"1\t0/{4 * SIZE + 0x500:X}\tno recovery target specified\n"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([seg(1, 3), seg(2, 4), seg(2, 5)], 6 * SIZE, id="the child's first file has the switch"),
        pytest.param([seg(1, 3), seg(1, 4), seg(2, 5)], 4 * SIZE + 0x500, id="the parent's only up to it"),
        pytest.param([seg(1, 3), seg(1, 4), seg(1, 5)], 4 * SIZE + 0x500, id="behind it the parent differs"),
        pytest.param([seg(2, 4), seg(2, 5)], 3 * SIZE, id="the parent's is missing"),
    ],
)
def test_coverage_follows_the_history_over_a_switch(
    local_store: LocalStorage, names: list[str], expected: int
) -> None:
    archive = archive_of(local_store, *names, history=HISTORY)
    histories = load_histories(local_store, archive)
    assert covered_until(archive, 2, 3 * SIZE, SIZE, histories) == expected


AT = 4 * SIZE + 0x500
"""Where timeline 2 begins."""


@pytest.mark.parametrize(
    ("names", "partials", "until", "expected"),
    [
        pytest.param([(1, 3), (1, 4), (2, 4), (2, 5)], [], 6 * SIZE, [(1, 3), (2, 4), (2, 5)], id="both"),
        pytest.param([(1, 3), (1, 4)], [], AT, [(1, 3), (1, 4)], id="only the parent's"),
        pytest.param([(1, 3)], [(1, 4, AT)], AT, [(1, 3), (1, 4)], id="only the parent's beginning"),
        pytest.param([(1, 3)], [(1, 4, AT - 9)], AT - 9, [(1, 3), (1, 4)], id="not even up to the switch"),
        pytest.param([(1, 3), (1, 4)], [(2, 4, AT - 9)], AT, [(1, 3), (1, 4)], id="the child's is shorter"),
        pytest.param([(1, 3), (1, 4)], [(2, 4, AT)], AT, [(1, 3), (2, 4)], id="the child's is as long"),
        pytest.param([(1, 3), (1, 4)], [(2, 4, AT + 9)], AT + 9, [(1, 3), (2, 4)], id="and goes on"),
        pytest.param([(1, 3), (1, 4), (1, 5)], [], AT, [(1, 3), (1, 4)], id="the parent went on as well"),
        pytest.param([(1, 3), (1, 4), (2, 5)], [], AT, [(1, 3), (1, 4)], id="the child's first is missing"),
    ],
)
def test_in_the_segment_of_a_switch_recovery_reads_what_is_there_and_leads_further(
    local_store: LocalStorage,
    names: list[tuple[int, int]],
    partials: list[tuple[int, int, int]],
    until: int,
    expected: list[tuple[int, int]],
) -> None:
    begun = tuple((seg(timeline, number), lsn) for timeline, number, lsn in partials)
    archive = archive_of(local_store, *(seg(*name) for name in names), partials=begun, history=HISTORY)
    histories = load_histories(local_store, archive)
    assert covered_until(archive, 2, 3 * SIZE, SIZE, histories) == until
    found = names_along(archive, 2, histories, 3 * SIZE, until, SIZE)
    assert found == tuple(seg(*name) for name in expected)


def test_a_timeline_without_a_history_cannot_be_followed(local_store: LocalStorage) -> None:
    archive = archive_of(local_store, history=HISTORY)
    with pytest.raises(IntegrityError, match=r"00000003\.history is not in the archive"):
        names_along(archive, 3, load_histories(local_store, archive), 0, 1, SIZE)


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_parent_wrote_behind_the_switch_is_not_read_along_its_child(
    local_store: LocalStorage, tmp_path: Path, *, whole: bool
) -> None:
    archive_of(local_store, history=HISTORY)
    if whole:
        sealed = seal_segment(DATA, seg(1, 4), tmp_path, system_id=SERVER, recipients=[])
        ship(local_store, "db", sealed, retain_until=None)
    else:
        part = seal([DATA[: SIZE // 2]], tmp_path / "begun.zst", recipients=[])
        lsn = 4 * SIZE + SIZE // 2
        ship_partial(local_store, "db", SERVER, seg(1, 4), lsn, tmp_path / "begun.zst", part)
    archive = read_archive(local_store, "db", SERVER)
    histories = load_histories(local_store, archive)

    def read(timeline: int) -> bytes:
        seen = along(archive, timeline, histories, SIZE)
        entry = seen.find(seg(1, 4)) or seen.partials[seg(1, 4)]
        return read_segment(local_store, entry, [])

    assert read(1) == (DATA if whole else DATA[: SIZE // 2])
    assert read(2) == DATA[:0x500].ljust(SIZE if whole else 0, b"\0")


@pytest.mark.parametrize(
    ("names", "since", "expected"),
    [
        pytest.param([seg(1, n) for n in (3, 4, 5)], 0, [], id="whole"),
        pytest.param([seg(1, n) for n in (3, 6, 7, 9)], 0, [(1, 4, 5, 2), (1, 8, 8, 1)], id="two holes"),
        pytest.param([seg(1, n) for n in (3, 6, 7)], 6, [], id="before the window holes are in order"),
        pytest.param([seg(1, n) for n in (3, 6, 7)], 5, [(1, 5, 5, 1)], id="in the window they are not"),
        pytest.param([seg(1, 2), seg(1, 3), seg(2, 4)], 0, [], id="a switch leaves no hole"),
        pytest.param([seg(1, 2), seg(2, 4)], 0, [(1, 3, 3, 1)], id="the parent ends before the switch"),
        pytest.param([seg(1, 3), seg(2, 5)], 0, [(2, 4, 4, 1)], id="the child begins after it"),
    ],
)
def test_gaps_are_found_by_timeline(
    local_store: LocalStorage, names: list[str], since: int, expected: list[tuple[int, int, int, int]]
) -> None:
    archive = archive_of(local_store, *names, history=HISTORY if any(n[7] == "2" for n in names) else "")
    found = gaps(archive, load_histories(local_store, archive), SIZE, since=since * SIZE)
    assert [(g.timeline, g.first, g.last, g.segments) for g in found] == [
        (timeline, seg(timeline, first), seg(timeline, last), count)
        for timeline, first, last, count in expected
    ]


@pytest.mark.parametrize(
    ("numbers", "since", "lacking"),
    [
        ((), None, []),
        ((3, 4, 5), None, [6]),
        ((3, 4, 7), None, [5, 8]),
        ((3, 4, 7), 2, [2, 5, 8]),
        ((3, 4, 7), 5, [5, 8]),
        ((3, 4, 7), 7, [8]),
    ],
)
def test_what_a_repository_lacks_begins_at_every_hole_and_at_its_end(
    local_store: LocalStorage, numbers: tuple[int, ...], since: int | None, lacking: list[int]
) -> None:
    archive = archive_of(local_store, *(seg(1, number) for number in numbers))
    start = None if since is None else since * SIZE
    assert lacking_from(archive, 1, {}, start, SIZE) == [number * SIZE for number in lacking]


def test_what_a_repository_lacks_is_on_the_way_to_the_timeline(local_store: LocalStorage) -> None:
    """Timeline 2 left its parent in segment 5: the parent's 7 belongs to nobody."""
    archive = archive_of(local_store, seg(1, 3), seg(1, 4), seg(1, 7), seg(2, 6))
    histories = {2: (Switch(1, 5 * SIZE + 100),)}
    assert lacking_from(archive, 2, histories, None, SIZE) == [5 * SIZE, 7 * SIZE]


def test_two_contents_of_one_segment_are_a_fork(local_store: LocalStorage) -> None:
    archive_of(local_store, seg(1, 3))
    local_store.create(wal_segment_key("db", SERVER, seg(1, 3), sha("other"), encrypted=False), b"y")
    archive = read_archive(local_store, "db", SERVER)
    assert archive.forked == (seg(1, 3),)
    with pytest.raises(IntegrityError, match="timeline forked"):
        archive.find(seg(1, 3))
    found = archive.find(seg(1, 3), sha("other"))
    assert found is not None
    assert found.sha256 == sha("other")


def test_the_same_contents_stored_plain_and_encrypted_are_no_fork(local_store: LocalStorage) -> None:
    archive_of(local_store, seg(1, 3))
    local_store.create(wal_segment_key("db", SERVER, seg(1, 3), sha(seg(1, 3)), encrypted=True), b"y")
    assert read_archive(local_store, "db", SERVER).forked == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("3\t0/1\tx\n", "does not lead to its timeline", id="of another timeline"),
        pytest.param("hello\n", "not a timeline history file", id="no history"),
        pytest.param("# nothing\n", "does not lead to its timeline", id="empty"),
    ],
)
def test_a_history_that_means_nothing_is_refused(
    local_store: LocalStorage, text: str, complaint: str
) -> None:
    with pytest.raises(IntegrityError, match=complaint):
        load_histories(local_store, archive_of(local_store, history=text))


def test_a_history_that_was_changed_and_two_of_one_timeline_are_refused(local_store: LocalStorage) -> None:
    archive = archive_of(local_store, history=HISTORY)
    key = wal_history_key("db", SERVER, 2, sha(HISTORY))
    (local_store.root / key).write_text("1\t0/1000000\tx\n")
    with pytest.raises(IntegrityError, match="is not what was archived"):
        load_histories(local_store, archive)
    other = "1\t0/430000\tx\n"
    with pytest.raises(IntegrityError, match="timeline forked"):
        load_histories(local_store, archive_of(local_store, history=other))


# -- shipping, into every kind of repository -------------------------------------------------------

DATA = bytes(range(256)) * (SIZE // 256)


def test_a_segment_is_shipped_once_read_back_and_comes_back_as_it_was(store: Storage, tmp_path: Path) -> None:
    key = pyrage.x25519.Identity.generate()
    identity, recipient = [str(key)], str(key.to_public())
    sealed = seal_segment(DATA, seg(1, 3), tmp_path, system_id=SERVER, recipients=[recipient])
    (tmp_path / "other").mkdir()
    again = seal_segment(DATA, seg(1, 3), tmp_path / "other", system_id=SERVER, recipients=[recipient])
    begun = seal([DATA[:500]], tmp_path / "begun.age", recipients=[recipient])
    places = (seg(1, 3), 3 * SIZE + 500, tmp_path / "begun.age", begun)
    assert ship_partial(store, "db", SERVER, *places)
    archive = read_archive(store, "db", SERVER)
    assert read_segment(store, archive.partials[seg(1, 3)], identity) == DATA[:500]
    assert ship(store, "db", sealed, retain_until=None)
    assert not ship(store, "db", again, retain_until=None), "the same contents, encrypted anew, are there"
    assert not ship_partial(store, "db", SERVER, *places), "no beginning of what is whole"
    archive = read_archive(store, "db", SERVER)
    assert (list(archive.segments), archive.partials, archive.stale) == ([seg(1, 3)], {}, ())
    entry = archive.find(seg(1, 3))
    assert entry is not None
    assert read_segment(store, entry, identity) == DATA
    with pytest.raises(DecryptError):
        read_segment(store, entry, [])


def test_a_fork_is_kept_and_said_aloud(store: Storage, tmp_path: Path) -> None:
    one = seal_segment(DATA, seg(1, 3), tmp_path, system_id=SERVER, recipients=[])
    other = seal_segment(DATA[::-1], seg(1, 3), tmp_path, system_id=SERVER, recipients=[])
    assert ship(store, "db", one, retain_until=None)
    with pytest.raises(IntegrityError, match="timeline forked: 000000010000000000000003"):
        ship(store, "db", other, retain_until=None)
    assert len(read_archive(store, "db", SERVER).segments[seg(1, 3)]) == 2
    text = HISTORY.encode()
    assert ship_history(store, "db", SERVER, 2, text, retain_until=None)
    assert not ship_history(store, "db", SERVER, 2, text, retain_until=None)
    with pytest.raises(IntegrityError, match=r"timeline forked: 00000002\.history"):
        ship_history(store, "db", SERVER, 2, b"1\t0/430000\tx\n", retain_until=None)


def test_only_the_longest_beginning_stays(store: Storage, tmp_path: Path) -> None:
    for end in (300, 500, 400):
        path = tmp_path / f"begun-{end}.zst"
        shipped = ship_partial(
            store, "db", SERVER, seg(1, 3), 3 * SIZE + end, path, seal([DATA[:end]], path, recipients=[])
        )
        assert shipped == (end != 400)
    archive = read_archive(store, "db", SERVER)
    assert archive.stale == ()
    assert read_segment(store, archive.partials[seg(1, 3)], []) == DATA[:500]


@pytest.mark.parametrize("whole", [False, True], ids=["a longer beginning", "the whole segment"])
def test_a_beginning_that_gave_way_while_it_was_to_be_read_is_read_as_far_as_it_led(
    local_store: LocalStorage, tmp_path: Path, whole: bool
) -> None:
    def begin(end: int) -> None:
        path = tmp_path / f"begun-{end}.zst"
        stored = seal([DATA[:end]], path, recipients=[])
        assert ship_partial(local_store, "db", SERVER, seg(1, 3), 3 * SIZE + end, path, stored)

    begin(300)
    listed = read_archive(local_store, "db", SERVER).partials[seg(1, 3)]
    begin(500)
    if whole:
        sealed = seal_segment(DATA, seg(1, 3), tmp_path, system_id=SERVER, recipients=[])
        ship(local_store, "db", sealed, retain_until=None)
    assert read_segment(local_store, listed, []) == DATA[:300]
    for path in (local_store.root / "db").rglob("*.zst"):
        path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        read_segment(local_store, listed, [])


def test_a_changed_segment_is_named(local_store: LocalStorage, tmp_path: Path) -> None:
    sealed = seal_segment(DATA, seg(1, 3), tmp_path, system_id=SERVER, recipients=[])
    ship(local_store, "db", sealed, retain_until=None)
    entry = read_archive(local_store, "db", SERVER).find(seg(1, 3))
    assert entry is not None
    path = local_store.root / entry.key
    other = seal([DATA[::-1]], tmp_path / "other.zst", recipients=[])
    assert other.plain_bytes == len(DATA)
    path.write_bytes((tmp_path / "other.zst").read_bytes())
    with pytest.raises(IntegrityError, match=f"{seg(1, 3)} in local is not what was archived"):
        read_segment(local_store, entry, [])
    path.write_bytes(sealed.path.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match=seg(1, 3)):
        read_segment(local_store, entry, [])
    path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        read_segment(local_store, entry, [])


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("how", ["flipped", "cut short"])
def test_what_was_stored_damaged_is_sent_again_and_never_taken_for_shipped(
    local_store: LocalStorage, tmp_path: Path, how: str, encrypted: bool
) -> None:
    """As a try leaves it that was killed before it read back, on a disk that lies."""
    recipients = [str(pyrage.x25519.Identity.generate().to_public())] if encrypted else []
    sealed = seal_segment(DATA, seg(1, 3), tmp_path, system_id=SERVER, recipients=recipients)
    assert ship(local_store, "db", sealed, retain_until=None)
    entry = read_archive(local_store, "db", SERVER).find(seg(1, 3))
    assert entry is not None
    path = local_store.root / entry.key
    good = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]) if how == "flipped" else good[:-1])
    with pytest.raises(StorageError, match="reads back differently") as caught:
        ship(local_store, "db", sealed, retain_until=None)
    assert caught.value.transient
    assert ship(local_store, "db", sealed, retain_until=None)
    assert path.read_bytes() == good


def test_what_an_earlier_process_sealed_is_known_by_its_name(tmp_path: Path) -> None:
    sealed = seal_segment(DATA, seg(1, 3), tmp_path, system_id=SERVER, recipients=[])
    found = sealed_from(sealed.path)
    assert found is not None
    assert (found.segment, found.sha256, found.system_id) == (seg(1, 3), sealed.sha256, SERVER)
    assert (found.stored.bytes, found.stored.sha256) == (sealed.stored.bytes, sealed.stored.sha256)
    assert sealed_from(tmp_path / "something-else") is None
