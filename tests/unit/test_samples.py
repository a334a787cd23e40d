"""Samples come back whatever happened: half a line, a clock set back, a lost answer, a year of them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pra.errors import StorageError
from pra.layout import samples_key, split_samples_key
from pra.storage.local import LocalStorage
from pra.watch.publishing import publish
from pra.watch.samples import LocalSamples, Sample, between, line_of, pack, parse, read, unpack
from pra.watch.status.finding import Finding, Level, StatusPass
from tests.fix_store import FaultyStorage

DAY = datetime(2026, 11, 22, tzinfo=UTC)
WHOLE = [b'{"t":1795305600,"x":{"akig":{"v":{"database":3.1}}}}', b'{"t":1795305900,"x":{"":{"u":["keys"]}}}']
HALF = [b'{"t":1795305600', b'"x":{"akig":{}}}', b'{"t":1,"x":{"akig":{"c":["a', b'b"]}}}']


def a_pass(at: datetime, *, level: Level = Level.OK, value: float = 3.1) -> StatusPass:
    found = (Finding("database", "akig", level, "x", value, "ms"), Finding("keys", "", Level.UNKNOWN, "x"))
    return StatusPass(at, "vm", 0.5, found)


@pytest.fixture
def here(tmp_path: Path) -> LocalSamples:
    return LocalSamples(tmp_path / "samples", "vm")


def back(here: LocalSamples | None, *storages: LocalStorage, days: float = 3) -> list[Sample]:
    return list(read(DAY, DAY + timedelta(days=days), local=here, storages=storages))


def test_a_line_is_compact_and_says_what_was_not_well() -> None:
    line = line_of(a_pass(DAY, level=Level.CRITICAL))
    assert (
        line == b'{"t":1795305600,"x":{"akig":{"v":{"database":3.1},"c":["database"]},"":{"u":["keys"]}}}\n'
    )


def test_what_was_appended_comes_back_in_order(here: LocalSamples) -> None:
    for minutes in (0, 5, 10):
        here.append(a_pass(DAY + timedelta(minutes=minutes)))
    found = [sample for sample in back(here) if sample.target == "akig"]
    assert [sample.at.minute for sample in found] == [0, 5, 10]
    assert found[0].values == {"database": 3.1}
    assert (found[0].host, found[0].level_of("database")) == ("vm", Level.OK)


def test_a_half_written_line_costs_itself_alone(here: LocalSamples) -> None:
    here.append(a_pass(DAY))
    path = next(here.folder.glob("*.jsonl"))
    with path.open("ab") as file:
        file.write(line_of(a_pass(DAY + timedelta(minutes=5)))[:-20])
    assert len(back(here)) == 2
    here.append(a_pass(DAY + timedelta(minutes=10)))
    assert {sample.at.minute for sample in back(here)} == {0, 10}


@pytest.mark.parametrize(
    "junk", [b"\xff\xfe\n", b"[]\n", b'{"t":"x"}\n', b'{"t":1e99,"x":{}}\n', b'{"t":1,"x":[1]}\n']
)
def test_junk_between_lines_is_passed_over(here: LocalSamples, junk: bytes) -> None:
    here.append(a_pass(DAY))
    with next(here.folder.glob("*.jsonl")).open("ab") as file:
        file.write(junk)
    here.append(a_pass(DAY + timedelta(minutes=5)))
    assert {sample.at.minute for sample in back(here)} == {0, 5}


@given(st.lists(st.sampled_from([*WHOLE, *HALF, b"", b"null", b"1,null,2", b"{}"]), max_size=6))
def test_lines_say_together_what_each_says_alone(lines: list[bytes]) -> None:
    assert list(parse(lines, "h")) == [sample for line in lines for sample in parse([line], "h")]


def test_lines_are_chosen_by_their_moment_without_being_read_whole() -> None:
    """What does not begin as a line of ours is left for the reader to judge."""
    at = datetime(2026, 11, 22, 12, tzinfo=UTC)
    lines = [b'{"t":%d,"x":not even JSON' % (at + timedelta(minutes=n)).timestamp() for n in range(0, 60, 5)]
    found = list(between([*lines, b"junk"], at + timedelta(minutes=10), at + timedelta(minutes=20)))
    assert found == [*lines[2:5], b"junk"]


def test_an_hour_is_published_once_it_is_over(here: LocalSamples, local: LocalStorage) -> None:
    for minutes in (50, 55, 60):
        here.append(a_pass(DAY + timedelta(minutes=minutes)))
    assert publish(here, local, DAY + timedelta(minutes=62)) == ["_status/vm/2026/11/22/00-1.jsonl.zst"]
    assert publish(here, local, DAY + timedelta(minutes=63)) == []
    assert {sample.at.minute for sample in back(None, local)} == {50, 55}
    assert len(back(here, local)) == 6, "what is in both places comes once"
    with (tmp := local.root / "_status/vm/2026/11/22/00-1.jsonl.zst").open("rb") as file:
        assert unpack(file.read())
    assert b'"schema":"pra/samples/1"' not in tmp.read_bytes(), "compressed"


def test_a_day_that_is_over_is_one_object_more_and_small_here(
    here: LocalSamples, local: LocalStorage
) -> None:
    for hours in range(24):
        here.append(a_pass(DAY + timedelta(hours=hours)))
    keys = publish(here, local, DAY + timedelta(hours=25))
    assert keys[-1] == "_status/vm/2026/11/22/day-1.jsonl.zst"
    assert len(keys) == 25
    assert [path.name for path in here.folder.glob("*.jsonl*")] == ["2026-11-22.jsonl.zst"]
    for key in keys[:-1]:
        local.delete(key)
    assert len(back(None, local)) == len(back(here)) == 48


def test_a_clock_set_back_makes_a_second_object_and_loses_nothing(
    here: LocalSamples, local: LocalStorage
) -> None:
    here.append(a_pass(DAY + timedelta(minutes=55)))
    publish(here, local, DAY + timedelta(hours=1))
    here.append(a_pass(DAY + timedelta(minutes=20)))
    assert publish(here, local, DAY + timedelta(minutes=25)) == []
    assert publish(here, local, DAY + timedelta(hours=1)) == ["_status/vm/2026/11/22/00-2.jsonl.zst"]
    assert [sample.at.minute for sample in back(None, local) if sample.target] == [20, 55]


def test_an_answer_that_was_lost_publishes_nothing_twice(here: LocalSamples, local: LocalStorage) -> None:
    """Without the note of how far it was published, the same bytes are recognised."""
    here.append(a_pass(DAY))
    publish(here, local, DAY + timedelta(hours=1))
    (here.folder / "published.json").write_text("{")
    assert publish(here, local, DAY + timedelta(hours=1)) == ["_status/vm/2026/11/22/00-1.jsonl.zst"]
    assert len(list(local.list("_status/"))) == 1


def test_a_repository_that_fails_keeps_nothing_from_being_appended(
    here: LocalSamples, local: LocalStorage
) -> None:
    here.append(a_pass(DAY))
    with pytest.raises(StorageError):
        publish(here, FaultyStorage(local, fail_at=1), DAY + timedelta(hours=1))
    here.append(a_pass(DAY + timedelta(minutes=70)))
    assert len(publish(here, local, DAY + timedelta(hours=2))) == 2


def test_an_object_that_cannot_be_read_is_said(local: LocalStorage) -> None:
    local.create(samples_key("other", DAY.date(), 0, 1), pack([line_of(a_pass(DAY)).strip()], "other"))
    local.create(samples_key("other", DAY.date(), 1, 1), b"nonsense")
    with pytest.raises(StorageError, match="not an object of samples"):
        back(None, local)
    problems: list[str] = []
    found = list(read(DAY, DAY + timedelta(days=1), storages=[local], problems=problems))
    assert ({sample.host for sample in found}, len(problems)) == ({"other"}, 1)


def test_another_schema_is_not_guessed_at() -> None:
    import zstandard

    with pytest.raises(StorageError, match="another schema: pra/samples/9"):
        unpack(zstandard.compress(json.dumps({"schema": "pra/samples/9"}).encode()))


@pytest.mark.parametrize(
    "key", ["_status/VM/2026/11/22/00-1.jsonl.zst", "_status/vm/2026/13/22/00-1.jsonl.zst", "x"]
)
def test_a_strange_key_is_no_samples(key: str) -> None:
    assert split_samples_key(key) is None


def test_a_year_of_three_targets_is_read_in_seconds(local: LocalStorage) -> None:
    """105,000 passes, as published by the day."""
    names = ["database", "size", "tables", "api", "backup.local", "backup.offsite", "proof.local", "drill"]
    entry = json.dumps({"v": dict.fromkeys(names, 123456), "w": ["proof.offsite"]}, separators=(",", ":"))
    targets = ",".join(f'"{name}":{entry}' for name in ("a", "b", "c"))
    second = int(DAY.timestamp())
    for number in range(365):
        lines = [
            f'{{"t":{second + 86400 * number + 300 * n},"x":{{{targets}}}}}'.encode() for n in range(288)
        ]
        day = (DAY + timedelta(days=number)).date()
        path = local.root / samples_key("vm", day, None, 1)
        path.parent.mkdir(parents=True)
        path.write_bytes(pack(lines, "vm"))  # by itself: a year of syncing is not what is timed
    start = time.monotonic()
    count = sum(1 for _ in read(DAY, DAY + timedelta(days=365), storages=[local]))
    assert count == 365 * 288 * 3
    assert time.monotonic() - start < 12
