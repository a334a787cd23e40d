"""Incidents open once, rise, are passed on, taken and closed; rules say when. All of it without a clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pra.errors import StorageError
from pra.settings import Alerts
from pra.storage.local import LocalStorage
from pra.watch import incidents, outbox
from pra.watch.incident_merge import merge
from pra.watch.incident_model import Book, Fact, Kind, Notice, Posted, Priority, from_bytes, to_bytes
from pra.watch.incident_store import IncidentStore
from pra.watch.incidents import Failure
from pra.watch.judge import Judged, Past, judge
from pra.watch.routing import Policy
from pra.watch.samples import Sample
from pra.watch.status.finding import HOST, Finding, Level, StatusPass, dated, in_order
from pra.watch.status.repository import age_level

START = datetime(2026, 11, 26, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALERTS = Alerts.model_validate(
    {"slack_token": "xoxb-000", "slack_channel": "C1", "tier1": "json://a/ json://b/", "tier2": "json://c/"}
)
POLICY = Policy.of(ALERTS)
P1, P2, P3 = Priority.P1, Priority.P2, Priority.P3


def finding(
    name: str, level: Level, value: float | None = None, unit: str = "s", target: str = "akig"
) -> Finding:
    return Finding(name, target, level, f"{name} is {level}", value, unit)


UP, DOWN = finding("database", Level.OK, 3.0, "ms"), finding("database", Level.CRITICAL)


@dataclass
class Watch:
    """Passes one after the other; ``samples`` as they would have been kept."""

    book: Book = field(default_factory=Book)
    before: StatusPass | None = None
    samples: tuple[Sample, ...] = ()

    def look(self, minutes: float, *found: Finding) -> list[str]:
        """Returns what this pass decided to say, to however many channels."""
        now = START + minutes * MINUTE
        known = {(i.id, n.number) for i in self.book.incidents for n in i.notices}
        self.before = StatusPass(now, "watcher", 0.1, in_order(dated(found, self.before, now)))
        bad = [f.name for f in found if f.level is Level.CRITICAL]
        warned = [f.name for f in found if f.level is Level.WARNING]
        values = {f.name: f.value for f in found if f.value is not None}
        self.samples += (Sample(now, "watcher", "akig", values, bad, warned, ()),)
        past = Past(history=lambda _: self.samples, spans=self._spans)
        self.book = incidents.observe(self.book, self.judged(past), POLICY, now)
        new = [
            (n.number, f"{n.priority} {n.kind}")
            for i in self.book.incidents
            for n in i.notices
            if (i.id, n.number) not in known
        ]
        return [text for _, text in dict.fromkeys(new)]

    def judged(self, past: Past | None = None) -> Judged:
        assert self.before is not None
        return judge(self.before, self.before.at, past or Past())

    def _spans(self, target: str) -> list[tuple[datetime, datetime]]:
        """As `pra.watch.telling` has them: outages that were incidents of their own."""
        mine = [i for i in self.book.incidents if i.target == target and i.rule in ("database", "api")]
        return [(i.since, i.well_since or self.samples[-1].at) for i in mine]


# -- rules ---------------------------------------------------------------------------------------

W, C, U = Level.WARNING, Level.CRITICAL, Level.UNKNOWN
TABLE = {
    "database down for 4 minutes": ("database", C, 4, None),
    "database down for 5 minutes": ("database", C, 5, P1),
    "disk under 10 %": ("disk.state", C, 0, P1),
    "disk under 20 %": ("disk.state", W, 0, P2),
    "restore test failed": ("proof.near", C, 0, P1),
    "last PASS too old": ("proof.near", W, 15, P2),
    "drill failed": ("drill", C, 0, P1),
    "drill too old": ("drill", W, 60, P3),
    "scrub found damage": ("scrub", C, 0, P1),
    "backup late": ("backup.near", W, 0, P3),
    "backup late by half an interval": ("backup.near", W, 30, P2),
    "backup two intervals old": ("backup.near", C, 0, P1),
    "API slow or down": ("api", W, 0, P2),
    "critical table gone": ("tables", C, 0, P1),
    "WAL past the RPO": ("wal.near", C, 5, P1),
    "anything else critical": ("certificate.api", C, 5, P2),
    "anything else that lasts": ("size", W, 15, P3),
    "anything else that is short": ("size", W, 10, None),
    "unknown for a while": ("proof.near", U, 15, P3),
    "unknown for a moment": ("proof.near", U, 10, None),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_rule_says_how_urgent_it_is(name: str) -> None:
    what, level, minutes, priority = TABLE[name]
    bad = replace(finding(what, level), since=START)
    found = (bad,) if what == "database" else (UP, bad)
    now = START + minutes * MINUTE
    judged = judge(StatusPass(now, "watcher", 0.1, found), now, Past())
    assert [matter.priority for matter in judged.matters] == ([priority] if priority else [])


def test_what_a_dead_database_explains_is_not_told_beside_it() -> None:
    """Neither opened, nor taken for well: it could not be looked at."""
    watch = Watch()
    for minutes in (0, 15):
        watch.look(minutes, UP, finding("disk.server", Level.WARNING, 0.15, "share"))
    watch.book = incidents.take(watch.book, watch.book.open()[0].id, "awa", START)
    rest = [finding(name, U) for name in ("size", "slot", "tables")]
    rest += [finding("api", C), finding("backup.near", W), finding("backup.far", C)]
    said = [watch.look(minutes, DOWN, *rest) for minutes in range(20, 120, 5)]
    assert [line for lines in said for line in lines] == ["p1 opened", "p1 escalated"]
    assert [incident.key for incident in watch.book.open()] == ["akig/database", "akig/disk"]


def test_several_repositories_are_one_incident() -> None:
    watch = Watch()
    assert watch.look(0, UP, finding("backup.near", W), finding("backup.far", W)) == ["p3 opened"]
    (incident,) = watch.book.open()
    assert "(and 1 more)" in incident.fact.message


def test_this_host_has_incidents_of_its_own() -> None:
    watch = Watch()
    watch.look(0, UP, finding("disk.state", C, 0.05, "share", HOST))
    assert [incident.key for incident in watch.book.open()] == ["@watcher/disk"]


@pytest.mark.parametrize("slow", [0, 90, 230])
def test_a_healthy_day_raises_none(slow: int) -> None:
    """A backup an hour of 4 minutes, and one of them ``slow`` seconds longer."""
    watch, took = Watch(), 240.0
    for number in range(288):
        at = number * 300.0
        late = took + (slow if at // 3600 == 7 else 0)
        hour = at // 3600 if at % 3600 >= late else at // 3600 - 1
        age = at - hour * 3600
        level = age_level(age, 3600, took)
        healthy = [
            UP,
            finding("api", Level.OK, 120, "ms"),
            finding("backup.near", level, age),
            finding("backup.far", level, age),
            finding("proof.near", Level.OK, 86400 + at),
            finding("drill", Level.OK, 9e6),
            finding("disk.state", Level.OK, 0.4, "share", HOST),
        ]
        assert watch.look(at / 60, *healthy) == []
    assert watch.book == Book()


def test_a_database_that_comes_and_goes_is_told_although_no_outage_lasts() -> None:
    watch = Watch()
    said = [watch.look(5 * number, DOWN if number % 3 == 0 else UP) for number in range(12)]
    assert [line for lines in said for line in lines] == ["p2 opened"]


def test_api_errors_over_one_percent_are_for_the_next_day() -> None:
    watch = Watch()
    failing, well = finding("api", W, 20, "ms"), finding("api", Level.OK, 20, "ms")
    for number in range(288):
        watch.look(5 * number, UP, failing if number in (10, 100, 200) else well)
    assert "akig/api-errors" in {incident.key for incident in watch.book.incidents} | {
        matter.key for matter in watch.judged(Past(history=lambda _: watch.samples)).matters
    }


# -- from the first message to the last ----------------------------------------------------------


def outage(watch: Watch, start: int = 0) -> None:
    watch.look(start, DOWN)
    watch.look(start + 5, DOWN)


def test_nobody_takes_it_and_everybody_is_told_in_turn() -> None:
    watch = Watch()
    outage(watch)
    (incident,) = watch.book.open()
    assert [n.channel for n in incident.notices] == ["slack", "tier1-1", "tier1-2"]
    assert watch.look(9, DOWN) == []
    assert watch.look(10, DOWN) == ["p1 escalated"]
    (incident,) = watch.book.open()
    assert [n.channel for n in incident.notices[3:]] == ["slack", "tier2-1"]
    assert watch.look(60, DOWN) == [], "there is nobody else"


def test_whoever_takes_it_stops_that() -> None:
    watch = Watch()
    outage(watch)
    (incident,) = watch.book.open()
    watch.book = incidents.take(watch.book, incident.id, "awa", START + 7 * MINUTE)
    assert watch.book == incidents.take(watch.book, incident.id, "binta", START + 8 * MINUTE)
    assert watch.look(10, DOWN) == []
    assert watch.book.open()[0].taken_by == "awa"


def test_what_gets_worse_is_told_again_and_has_to_be_taken_again() -> None:
    watch = Watch()
    late, later = finding("backup.near", W), finding("backup.near", C)
    assert watch.look(0, UP, late) == ["p3 opened"]
    watch.book = incidents.take(watch.book, watch.book.open()[0].id, "awa", START)
    assert watch.look(30, UP, late) == ["p2 raised"]
    assert watch.look(60, UP, later) == ["p1 raised"]
    assert watch.look(62, UP, late) == [], "less bad is not well"
    assert watch.book.open()[0].priority is P1
    assert watch.book.open()[0].taken_at is None


def test_it_closes_once_all_has_been_well_for_a_while() -> None:
    watch = Watch()
    outage(watch)
    assert watch.look(8, UP) == []
    assert watch.look(13, UP) == []
    assert watch.look(18, UP) == ["p1 closed"]
    (incident,) = watch.book.incidents
    assert incident.seconds == 8 * 60, "until it was well, not until that was believed"
    assert watch.look(23, UP) == []


def test_flapping_is_damped() -> None:
    """20 minutes up and 10 down, for a day: one incident, which needs ever longer to be believed over."""
    watch = Watch()
    said: list[str] = []
    for number in range(288):
        said += watch.look(5 * number, DOWN if number % 6 < 2 else UP)
    assert {incident.key for incident in watch.book.incidents} <= {"akig/database", "akig/database-errors"}
    assert [line for line in said if line.startswith("p1")].count("p1 opened") == 1
    assert len(said) <= 10


def test_a_relapse_continues_the_incident_and_later_is_another_one() -> None:
    watch = Watch()
    outage(watch)
    for minutes in (10, 20):
        watch.look(minutes, UP)
    watch.look(40, DOWN)
    assert watch.look(45, DOWN) == ["p1 reopened"]
    for minutes in (50, 60, 65, 70):
        watch.look(minutes, UP)
    assert len(watch.book.incidents) == 1
    outage(watch, 300)
    assert len(watch.book.incidents) == 2


def test_a_clock_that_was_ahead_keeps_nobody_from_being_told() -> None:
    watch = Watch()
    outage(watch, 60 * 24 * 400)
    watch.before = None
    assert "p1 escalated" in [*watch.look(0, DOWN), *watch.look(5, DOWN)]


def test_a_failure_is_ended_by_a_later_success_only() -> None:
    failure = Failure("akig/backup", "akig", "backup", P2, Fact("backup", "pg_dump exited with 1"))
    watch = Watch(incidents.fail(Book(), failure, POLICY, START))
    assert incidents.fail(watch.book, failure, POLICY, START + MINUTE).by_key("akig/backup") is not None
    assert watch.look(5, UP, finding("backup.near", Level.OK, 1800)) == []
    assert watch.look(65, UP, finding("backup.near", Level.OK, 300)) == ["p2 closed"]


def test_where_the_route_leads_nowhere_the_first_contact_is_told() -> None:
    policy = Policy.of(Alerts.model_validate({"tier1": "json://a/"}))
    failure = Failure("akig/backup", "akig", "backup", P3, Fact("backup", "late"))
    (incident,) = incidents.fail(Book(), failure, policy, START).incidents
    assert [notice.channel for notice in incident.notices] == ["tier1-1"]


# -- the outbox ----------------------------------------------------------------------------------


def claimed(book: Book, holder: str, now: datetime, *, dead: bool = False) -> list[tuple[Kind, str]]:
    found = outbox.claim(book, holder, POLICY, lambda _: dead, now)
    return [(notice.kind, notice.channel) for _, notice in outbox.claimed(found, holder)]


def opened() -> Book:
    watch = Watch()
    outage(watch)
    return watch.book


def test_what_one_sends_no_other_sends_until_it_is_dead_or_late() -> None:
    now = START + 5 * MINUTE
    mine = outbox.claim(opened(), "one/1/a", POLICY, lambda _: False, now)
    assert len(claimed(opened(), "one/1/a", now)) == 3
    assert claimed(mine, "two/1/b", now) == []
    assert len(claimed(mine, "one/2/c", now, dead=True)) == 3
    assert len(claimed(mine, "two/1/b", now + outbox.CLAIMED)) == 3
    assert len(claimed(mine, "two/1/b", now - timedelta(days=9))) == 3, "the clock was ahead"


def test_a_message_that_failed_comes_again_and_none_behind_it_overtakes() -> None:
    now = START + 5 * MINUTE
    book = outbox.claim(opened(), "one/1/a", POLICY, lambda _: False, now)
    incident, notice = next(pair for pair in outbox.claimed(book, "one/1/a") if pair[1].channel == "slack")
    book = outbox.settle(book, incident.id, notice, outbox.Outcome("status 500", wait=120), POLICY, now)
    assert [i.key for i in book.open()] == ["akig/database", "@alerts/slack"]
    book = incidents.take(book, incident.id, "awa", now)
    soon = [pair for pair in claimed(book, "two/1/b", now + MINUTE, dead=True) if pair[1] == "slack"]
    assert soon == []
    later = [pair for pair in claimed(book, "two/1/b", now + 3 * MINUTE, dead=True) if pair[1] == "slack"]
    assert later == [(Kind.OPENED, "slack"), (Kind.TAKEN, "slack")]


def test_a_channel_that_was_removed_is_given_up() -> None:
    policy = replace(POLICY, standing=())
    book = outbox.claim(opened(), "one/1/a", policy, lambda _: False, START + 5 * MINUTE)
    assert [n.posted for n in book.incidents[0].notices if n.channel == "slack"] == [Posted.GIVEN_UP]


# -- stored --------------------------------------------------------------------------------------


def test_what_is_written_is_read_again() -> None:
    book = outbox.claim(opened(), "one/1/a", POLICY, lambda _: False, START)
    assert from_bytes(to_bytes(book)) == book


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"schema":"pra/incidents/1","incidents":[{}]}'])
def test_what_is_no_book_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a book"):
        from_bytes(data)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    (tmp_path / "near").mkdir()
    return LocalStorage("near", tmp_path / "near")


def failing(key: str, minutes: float = 0.0) -> Failure:
    return Failure(f"akig/{key}", "akig", key, P1, Fact(key, f"failed at {minutes:g}"))


def test_two_hosts_that_write_at_once_both_count(storage: LocalStorage, tmp_path: Path) -> None:
    one, two = (IncidentStore(tmp_path / name, storage) for name in ("one", "two"))
    raced = iter([True])

    def change(book: Book) -> Book:
        if next(raced, False):
            two.update(lambda other: incidents.fail(other, failing("drill"), POLICY, START))
        return incidents.fail(book, failing("proof"), POLICY, START)

    one.update(change)
    for store in (one, two):
        assert {incident.key for incident in store.read().open()} == {"akig/drill", "akig/proof"}


@pytest.mark.parametrize("damage", [b"", b"half a rec", None])
def test_a_damaged_book_in_the_repository_is_replaced_by_the_copy(
    storage: LocalStorage, tmp_path: Path, damage: bytes | None
) -> None:
    store = IncidentStore(tmp_path / "one", storage)
    store.update(lambda book: incidents.fail(book, failing("proof"), POLICY, START))
    path = tmp_path / "near" / "_status" / "incidents.json"
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    assert [incident.key for incident in store.read().open()] == ["akig/proof"]
    assert from_bytes(path.read_bytes()).open()


def test_a_newer_version_s_book_is_left_alone(storage: LocalStorage, tmp_path: Path) -> None:
    storage.create("_status/incidents.json", b'{"schema":"pra/incidents/9"}')
    store = IncidentStore(tmp_path / "one", storage)
    assert store.update(lambda book: incidents.fail(book, failing("proof"), POLICY, START)).open()
    assert storage.read("_status/incidents.json") == b'{"schema":"pra/incidents/9"}'


def test_a_damaged_copy_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "incidents.json").write_text("{")
    assert IncidentStore(tmp_path, None).read() == Book()


def test_a_repository_that_is_away_is_caught_up_with(
    storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> bytes:
        raise StorageError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "read", away)
        for name in ("one", "two"):
            store = IncidentStore(tmp_path / name, storage)
            store.update(lambda book: incidents.fail(book, failing("proof"), POLICY, START + MINUTE))
    for name in ("one", "two", "one"):
        (incident,) = IncidentStore(tmp_path / name, storage).read().open()
        assert incident.key == "akig/proof"


def test_a_merge_may_be_repeated() -> None:
    ours = incidents.fail(Book(), failing("proof"), POLICY, START + MINUTE)
    theirs = incidents.fail(Book(), failing("proof"), POLICY, START)
    sent = replace(ours.incidents[0], notices=tuple(_sent(n) for n in ours.incidents[0].notices))
    once = merge(theirs, Book((sent,)))
    assert len(once.incidents) == 1
    assert once.incidents[0].id == theirs.incidents[0].id
    assert merge(once, Book((sent,))) == once


def _sent(notice: Notice) -> Notice:
    return replace(notice, posted=Posted.SENT)


def test_what_is_long_over_is_forgotten() -> None:
    watch = Watch()
    outage(watch)
    for minutes in (10, 20):
        watch.look(minutes, UP)
    over = Book(tuple(replace(i, notices=tuple(_sent(n) for n in i.notices)) for i in watch.book.incidents))
    (kept,) = incidents.forget(over, START + timedelta(days=3)).incidents
    assert kept.notices == ()
    assert incidents.forget(over, START + timedelta(days=500)) == Book()
