"""The streamer's disk: what is sealed when, and what a kill or a full disk may leave there."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pra.errors import BusyError, IntegrityError, SpaceError
from pra.postgres.wal import segment_name
from pra.storage.pipe import unseal
from pra.wal.board import Board, Proof
from pra.wal.spool import Beginning, WalSpool, known_systems, locked_spool

SIZE = 1 << 20
SERVER = "7000000000000000001"


def seg(number: int, timeline: int = 1) -> str:
    return segment_name(timeline, number * SIZE, SIZE)


@pytest.fixture
def spool(tmp_path: Path) -> WalSpool:
    return WalSpool(tmp_path, SERVER, (), SIZE)


def receive(spool: WalSpool, number: int, data: bytes = b"wal", *, partial: bool = False) -> Path:
    """What pg_receivewal would write: padded to the segment's size."""
    path = spool.received / (seg(number) + (".partial" if partial else ""))
    path.write_bytes(data.ljust(SIZE, b"\0"))
    return path


def plain(begun: Beginning) -> bytes:
    with begun.path.open("rb") as source, unseal(source, begun.stored, identities=()) as text:
        return text.read()


def test_what_is_finished_is_sealed_and_only_the_newest_stays_in_clear(spool: WalSpool) -> None:
    for number in (3, 4, 5):
        receive(spool, number)
    receive(spool, 6, b"", partial=True)
    assert [one.segment for one in spool.seal_finished()] == [seg(3), seg(4), seg(5)]
    assert spool.seal_finished() == []
    assert sorted(path.name for path in spool.received.iterdir()) == [seg(5), f"{seg(6)}.partial"]
    receive(spool, 6)
    (spool.received / f"{seg(6)}.partial").unlink()
    assert [one.segment for one in spool.seal_finished()] == [seg(6)]
    assert [one.segment for one in spool.sealed()] == [seg(3), seg(4), seg(5), seg(6)]


def test_the_next_process_finds_what_the_killed_one_had_sealed(spool: WalSpool, tmp_path: Path) -> None:
    for number in (3, 4):
        receive(spool, number)
    before = {one.segment: one.stored.sha256 for one in spool.seal_finished()}
    (spool.folder / "sealed" / ".tmp-half").write_bytes(b"half")
    again = WalSpool(tmp_path, SERVER, (), None)
    assert {one.segment: one.stored.sha256 for one in again.sealed()} == before
    assert not (spool.folder / "sealed" / ".tmp-half").exists()
    # The one that is still in clear is sealed anew: whether its sealed copy was whole nobody knows.
    assert [one.segment for one in again.seal_finished()] == [seg(4)]
    assert again.nonce == spool.nonce
    assert known_systems(tmp_path) == [SERVER]


def test_another_segment_size_is_another_server(spool: WalSpool, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="segments of another size"):
        WalSpool(tmp_path, SERVER, (), SIZE * 2)


def test_a_beginning_ends_at_its_last_byte_and_comes_again_when_it_has_grown(spool: WalSpool) -> None:
    path = receive(spool, 3, b"one", partial=True)
    (first,) = spool.seal_beginning()
    assert (first.lsn, plain(first), first.ended) == (3 * SIZE + 3, b"one", False)
    assert spool.seal_beginning() == []
    path.write_bytes(b"one\0\0two".ljust(SIZE, b"\0"))
    (second,) = spool.seal_beginning()
    assert (second.lsn, plain(second)) == (3 * SIZE + 8, b"one\0\0two")
    assert spool.reached() == (1, 3 * SIZE + 8)


def test_zeros_count_as_far_as_the_server_knows_them_written(spool: WalSpool) -> None:
    """A record may end in zeros: the last byte that is not zero lies before its end."""
    receive(spool, 3, b"one", partial=True)
    (begun,) = spool.seal_beginning(known=3 * SIZE + 8)
    assert (begun.lsn, plain(begun)) == (3 * SIZE + 8, b"one".ljust(8, b"\0"))
    assert spool.seal_beginning(known=3 * SIZE + 8) == []
    assert spool.seal_beginning(known=5 * SIZE) == []


def test_only_the_newest_segment_grows_with_the_server(spool: WalSpool) -> None:
    """What pg_receivewal leaves of a timeline that was left holds nothing of the one behind it."""
    receive(spool, 3, b"one", partial=True)
    newer = spool.received / f"{seg(3, timeline=2)}.partial"
    newer.write_bytes(b"one two".ljust(SIZE, b"\0"))
    old, new = spool.seal_beginning(known=3 * SIZE + 100)
    assert (old.segment, old.lsn, old.ended) == (seg(3), 3 * SIZE + 3, True)
    assert (new.segment, new.lsn, new.ended) == (seg(3, timeline=2), 3 * SIZE + 100, False)
    assert spool.seal_beginning(known=3 * SIZE + 200)[0].segment == seg(3, timeline=2)
    assert spool.reached() == (2, 3 * SIZE + 200)


def test_counting_goes_on_while_files_are_finished_and_removed(spool: WalSpool) -> None:
    stop = threading.Event()

    def finishing() -> None:
        while not stop.is_set():
            receive(spool, 4, b"x", partial=True).rename(spool.received / seg(4))
            (spool.received / seg(4)).unlink()

    receive(spool, 3)
    thread = threading.Thread(target=finishing)
    thread.start()
    try:
        for _ in range(1500):
            assert spool.reached() is not None
            spool.finished()
    finally:
        stop.set()
        thread.join()


def test_files_at_which_the_receiver_would_stop_for_ever_are_removed(spool: WalSpool) -> None:
    (spool.received / f"{seg(4)}.partial").write_bytes(bytes(SIZE // 2))
    (spool.received / f"{seg(5)}.partial").touch()
    (spool.received / "00000002.history.tmp").touch()
    receive(spool, 3)
    assert spool.repair() == [f"{seg(4)}.partial", "00000002.history.tmp"]
    assert sorted(path.name for path in spool.received.iterdir()) == [seg(3), f"{seg(5)}.partial"]


def test_what_nobody_continues_is_shipped_all_the_same(spool: WalSpool) -> None:
    receive(spool, 3)
    receive(spool, 4, b"end of a timeline", partial=True)
    spool.seal_finished()
    assert spool.set_aside() == f"{seg(4)}"
    assert spool.is_empty()
    spool.begin_at(seg(4, timeline=2))
    assert not spool.is_empty()
    (begun,) = spool.seal_beginning()
    assert (begun.segment, begun.ended, plain(begun)) == (seg(4), True, b"end of a timeline")
    board = Board(spool, ["near", "far"])
    board.publish([begun], (1, begun.lsn), None)
    board.acknowledge_beginning("near", begun)
    assert list((spool.folder / "ended").iterdir())
    board.acknowledge_beginning("far", begun)
    assert not list((spool.folder / "ended").iterdir())


def test_one_streamer_for_each_target_and_state_directory(tmp_path: Path) -> None:
    with locked_spool(tmp_path / "db"):
        with pytest.raises(BusyError, match="another streamer of db"), locked_spool(tmp_path / "db"):
            pass
        with locked_spool(tmp_path / "other"):
            pass
    with locked_spool(tmp_path / "db"):
        pass


def test_a_full_disk_is_said_and_loses_nothing(small_disk: Path) -> None:
    spool = WalSpool(small_disk, SERVER, (), SIZE)
    receive(spool, 3, os.urandom(SIZE // 2))
    (small_disk / "ballast").write_bytes(bytes(800 << 10))
    with pytest.raises(SpaceError):
        spool.seal_finished()
    assert spool.finished() == [seg(3)]
    (small_disk / "ballast").unlink()
    assert [one.segment for one in spool.seal_finished()] == [seg(3)]


# -- who has what ----------------------------------------------------------------------------------


def test_a_sealed_segment_goes_when_every_repository_has_it(spool: WalSpool) -> None:
    for number in (3, 4):
        receive(spool, number)
    spool.seal_finished()
    board = Board(spool, ["near", "far"])
    third, fourth = board.ready("near").sealed
    board.acknowledge("near", third)
    board.acknowledge("near", fourth)
    assert board.ready("near").sealed == []
    assert [one.segment for one in board.ready("far").sealed] == [seg(3), seg(4)]
    board.acknowledge("far", third)
    assert [one.segment for one in spool.sealed()] == [seg(4)]


def test_past_the_limit_only_what_somebody_has_is_dropped(spool: WalSpool) -> None:
    for number in (3, 4, 5):
        receive(spool, number)
    spool.seal_finished()
    board = Board(spool, ["near", "far"])
    assert board.release(0) == []
    assert len(spool.sealed()) == 3, "nobody has any of it: nothing is dropped"
    for one in board.ready("near").sealed[:2]:
        board.acknowledge("near", one)
    assert board.release(0) == ["far"]
    assert [one.segment for one in spool.sealed()] == [seg(5)]
    assert board.must_copy("far") == 2
    assert board.ready("far").behind
    assert not board.must_copy("near")
    board.copied("far", 2)
    assert not board.must_copy("far")


def test_what_was_dropped_during_a_copy_must_be_copied_too(spool: WalSpool) -> None:
    for number in (3, 4, 5):
        receive(spool, number)
    spool.seal_finished()
    board = Board(spool, ["near", "far"])
    third, fourth, _ = board.ready("near").sealed
    board.acknowledge("near", third)
    board.release(0)
    before = board.must_copy("far")
    board.acknowledge("near", fourth)
    board.release(0)  # while the copy of what was listed before is under way
    board.copied("far", before)
    assert board.must_copy("far")


def test_a_position_on_another_timeline_proves_nothing() -> None:
    """A server that was promoted further back stands behind what came from its predecessor."""
    proof = Proof(datetime.now(UTC), 400, timeline=2)
    assert not proof.reached(1, 500)
    assert proof.reached(2, 400)
    assert not proof.reached(2, 399)
    assert Proof(datetime.now(UTC), 400).reached(1, 400), "a standby does not say"


def test_a_beginning_stays_on_disk_while_a_repository_reads_it(spool: WalSpool) -> None:
    path = receive(spool, 3, b"one", partial=True)
    board = Board(spool, ["near", "far"])
    board.publish(spool.seal_beginning(), (1, 3 * SIZE + 3), Proof(None, 0))  # type: ignore[arg-type]
    (first,) = board.ready("near").beginnings
    path.write_bytes(b"one two".ljust(SIZE, b"\0"))
    board.publish(spool.seal_beginning(), (1, 3 * SIZE + 7), None)
    assert first.path.exists()
    board.acknowledge_beginning("near", first)
    (second,) = board.ready("near").beginnings
    assert second.lsn == 3 * SIZE + 7
    board.publish([], (0, 0), None)
    assert not first.path.exists()
