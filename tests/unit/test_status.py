"""The parts of a status pass that need no server: judging, dating, limits, the schedule, the log."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from deployments.cli.output import Output
from deployments.cli.status_words import show
from pra.errors import PraError, StorageError
from pra.messages import translator
from pra.settings import Alerts, Status
from pra.settings_fields import Frozen
from pra.watch import monitor_log
from pra.watch.heartbeat import beat
from pra.watch.status.asking import Question, Source, ask, ask_all
from pra.watch.status.finding import Finding, Level, StatusPass, dated, in_order, read_pass
from pra.watch.status.repository import age_level
from pra.watch.status.schedule import Deployment, Run, judge
from tests.fix_status import Application

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def finding(level: Level, name: str = "database", target: str = "akig", **more: Any) -> Finding:
    return Finding(name, target, level, "a fact", **more)


def passed(*findings: Finding, at: datetime = NOW) -> StatusPass:
    return StatusPass(at, "vm", 0.5, in_order(findings))


@pytest.mark.parametrize(
    ("levels", "code"),
    [
        ((), 0),
        (("ok",), 0),
        (("ok", "unknown"), 2),
        (("warning", "unknown"), 2),
        (("warning", "critical"), 1),
    ],
)
def test_the_worst_decides_and_unknown_is_never_well(levels: tuple[str, ...], code: int) -> None:
    done = passed(*(finding(Level(level), name=level) for level in levels))
    assert done.exit_code == code


def test_the_worst_comes_first_and_a_pass_survives_being_written() -> None:
    done = passed(finding(Level.OK, "a"), finding(Level.CRITICAL, "b", ""), finding(Level.WARNING, "c"))
    assert [f.name for f in done.findings] == ["b", "c", "a"]
    assert read_pass(done.as_json()) == done


def test_a_finding_is_dated_by_the_first_pass_that_found_it_so() -> None:
    first = dated([finding(Level.WARNING)], None, NOW)
    later = dated([finding(Level.WARNING)], passed(*first), NOW + timedelta(minutes=5))
    worse = dated([finding(Level.CRITICAL)], passed(*later), NOW + timedelta(minutes=10))
    assert (later[0].since, worse[0].since) == (NOW, NOW + timedelta(minutes=10))
    back = dated([finding(Level.WARNING)], passed(*later), NOW - timedelta(hours=1))
    assert back[0].since == NOW - timedelta(hours=1), "nothing has been bad since the future"


@pytest.mark.parametrize(
    ("minutes", "level"), [(60, "ok"), (67, "ok"), (69, "warning"), (127, "warning"), (129, "critical")]
)
def test_a_healthy_hour_raises_no_warning(minutes: float, level: str) -> None:
    """Every hour, four minutes each."""
    assert age_level(minutes * 60, 3600, 240) == level


def test_a_fleet_is_told_in_a_few_rows_the_worst_first(capsys: pytest.CaptureFixture[str]) -> None:
    """What has one cause is one row, whomever it concerns; where all is well, the name is enough."""
    found = [finding(Level.OK, "size", f"db{number:02d}", value=5.0, unit="bytes") for number in range(20)]
    for number in range(9):
        lost = Finding("backup.far", f"db{number:02d}", Level.UNKNOWN, "far is away", hint="Look there.")
        found.append(lost)
    found.append(Finding("database", "db19", Level.CRITICAL, "does not answer", hint="Start it."))
    show(Output(json=False, translate=translator("en")), passed(*found))
    said = capsys.readouterr().out
    first, *lines = said.splitlines()
    assert "10 of 30 checks need a look" in first
    assert "databases: 1 CRITICAL, 9 UNKNOWN, 10 OK" in first
    assert said.count("far is away") == 1
    assert "and 5 more" in said
    assert said.index("does not answer") < said.index("far is away")
    assert lines[-1].startswith(" OK  all is well with 10: db09, db10, db11")


# -- limits --------------------------------------------------------------------------------------


def question(ask: Any, *, seconds: float = 5, silence: Level = Level.UNKNOWN) -> Question:
    return Question("akig: x", "akig", ("a", "b"), ask, seconds, silence)


def test_a_probe_that_hangs_is_given_up_and_delays_nobody() -> None:
    release = threading.Event()
    hanging = question(lambda: release.wait(60), seconds=0.3, silence=Level.CRITICAL)
    start = time.monotonic()
    found = ask_all([hanging, question(lambda: [finding(Level.OK)])], concurrency=2)
    assert time.monotonic() - start < 2
    release.set()
    assert sorted((f.name, f.level, f.message) for f in found) == [
        ("a", Level.CRITICAL, "no answer within 0.3 s"),
        ("b", Level.CRITICAL, "no answer within 0.3 s"),
        ("database", Level.OK, "a fact"),
    ]


def test_what_a_probe_raises_is_unknown_and_a_strange_error_shows_no_text() -> None:
    def ours() -> Any:
        raise StorageError("the disk is gone", op="x", hint="Mount it.")

    def strange() -> Any:
        raise RuntimeError("row value 4711")

    assert {(f.level, f.message, f.hint) for f in ask(question(ours))} == {
        (Level.UNKNOWN, "the disk is gone", "Mount it.")
    }
    (first, _) = ask(question(strange))
    assert (first.level, first.message) == (Level.UNKNOWN, "the probe failed: unexpected RuntimeError")


def put_to(source: Source | None, ask: Any, number: int, *, silence: Level = Level.UNKNOWN) -> Question:
    return Question(f"t{number}: x", f"t{number}", ("a",), ask, 0.3, silence, source)


def test_a_source_that_hangs_is_not_waited_for_by_everybody_and_hides_nobody_else() -> None:
    """200 targets ask a repository that hangs, and 200 one that answers; 16 at once."""
    release = threading.Event()
    sick, sound = Source("repository far", tries=3), Source("repository near", tries=3)
    asked: list[int] = []

    def hang() -> Any:
        asked.append(1)
        release.wait(60)

    questions = [put_to(sick, hang, number) for number in range(200)]
    questions += [put_to(sound, lambda: [finding(Level.OK, "b")], number) for number in range(200)]
    start = time.monotonic()
    found = ask_all(questions, concurrency=16)
    release.set()
    assert time.monotonic() - start < 2, "not 200 times 0.3 s, by 16"
    assert len(asked) == 3
    assert sum(f.level is Level.OK for f in found) == 200
    unknown = [f for f in found if f.level is Level.UNKNOWN]
    assert {f.target for f in unknown} == {f"t{number}" for number in range(200)}
    assert {f.message for f in unknown} == {
        "no answer within 0.3 s",
        "not asked: repository far does not answer",
    }
    assert all(f.hint for f in unknown)


def test_one_target_that_hangs_is_not_its_whole_repository() -> None:
    release = threading.Event()
    source = Source("repository far", tries=3)
    questions = [put_to(source, lambda: release.wait(60), 0)]
    questions += [put_to(source, lambda: [finding(Level.OK)], number) for number in range(1, 20)]
    found = ask_all(questions, concurrency=4)
    release.set()
    assert [f.target for f in found if f.level is Level.UNKNOWN] == ["t0"]
    assert len(found) == 20


def test_what_goes_through_a_dead_database_is_not_asked() -> None:
    source = Source("the database", tries=1)
    dead = put_to(source, lambda: [finding(Level.CRITICAL)], 0, silence=Level.CRITICAL)
    found = ask_all([dead, put_to(source, lambda: pytest.fail("asked"), 0)], concurrency=4)
    assert [(f.level, f.message) for f in found] == [
        (Level.CRITICAL, "a fact"),
        (Level.UNKNOWN, "not asked: the database does not answer"),
    ]


def test_a_source_whose_errors_are_of_the_moment_is_given_up_and_one_that_refuses_is_an_answer() -> None:
    def fails(*, transient: bool) -> Any:
        def ask() -> Any:
            raise StorageError("no", op="x", transient=transient)

        return ask

    for transient, silent in ((True, True), (False, False)):
        source = Source("repository far", tries=3)
        ask_all([put_to(source, fails(transient=transient), n) for n in range(9)], concurrency=2)
        assert source.silent is silent


# -- the schedule --------------------------------------------------------------------------------

BACKUP = Deployment("1", "backup/akig", active=True, often=True)
VERIFY = Deployment("2", "restore-verify/akig", active=True, often=True)
DRILL = Deployment("3", "dr-drill/akig", active=True, often=False)
PLANNED = (
    Run("1", "next", NOW + timedelta(minutes=30), None),
    Run("2", "next", NOW + timedelta(days=3), None),
)
LATE = Run("1", "late", NOW - timedelta(hours=1), None)
SCHEDULES: dict[str, tuple[dict[str, Any], Level, str]] = {
    "healthy": ({}, Level.OK, "3 deployments, no run is late"),
    "one late": (
        {"waiting": (*PLANNED, LATE)},
        Level.WARNING,
        "1 run is late: backup/akig was due 1 h 00 min ago",
    ),
    "two late": ({"waiting": (*PLANNED, LATE, LATE)}, Level.CRITICAL, "2 runs are late"),
    "a moment late": (
        {"waiting": (*PLANNED, Run("1", "x", NOW - timedelta(minutes=5), None))},
        Level.OK,
        "no run is late",
    ),
    "no run planned": ({"waiting": PLANNED[:1]}, Level.CRITICAL, "no run of restore-verify/akig is planned"),
    "stuck": (
        {"at_work": (Run("2", "x", None, NOW - timedelta(hours=7)),)},
        Level.WARNING,
        "restore-verify/akig has not moved for 7 h 00 min",
    ),
    "at work": ({"at_work": (Run("2", "x", None, NOW - timedelta(hours=1)),)}, Level.OK, "no run is late"),
    "not deployed": (
        {"deployments": (BACKUP, DRILL)},
        Level.WARNING,
        "there is no deployment restore-verify/akig",
    ),
    "paused": (
        {"deployments": (Deployment("1", "backup/akig", active=False, often=True), VERIFY, DRILL)},
        Level.WARNING,
        "the schedule of backup/akig is paused",
    ),
    "its schedule was deleted": (
        {"deployments": (Deployment("1", "backup/akig", active=False, often=False), VERIFY, DRILL)},
        Level.WARNING,
        "no schedule of backup/akig is active",
    ),
    "a drill that nobody schedules": (
        {"deployments": (BACKUP, VERIFY, Deployment("3", "dr-drill/akig", active=False, often=False))},
        Level.OK,
        "no run is late",
    ),
}


@pytest.mark.parametrize(("changed", "level", "says"), SCHEDULES.values(), ids=SCHEDULES)
def test_a_schedule(changed: dict[str, Any], level: Level, says: str) -> None:
    given = {"deployments": (BACKUP, VERIFY, DRILL), "waiting": PLANNED, "at_work": ()} | changed
    found = judge(**given, targets=["akig"], status=Status(), now=NOW)
    assert (found.level, says in found.message) == (level, True), found.message


# -- log and heartbeat ---------------------------------------------------------------------------


class _Settings(Frozen):
    state_dir: Path


def test_the_log_has_a_line_for_what_is_bad_and_one_when_it_is_well_again(tmp_path: Path) -> None:
    bad, good = passed(finding(Level.CRITICAL)), passed(finding(Level.OK), at=NOW + timedelta(minutes=5))
    assert monitor_log.lines(bad, None)[1] == "2026-11-22 12:00:00 CRITICAL akig database: a fact"
    assert monitor_log.lines(good, bad)[1:] == ["2026-11-22 12:05:00 OK akig database: a fact (again)"]
    settings: Any = _Settings(state_dir=tmp_path)
    monitor_log.write(settings, bad, None)
    tomorrow = passed(finding(Level.OK), at=datetime.now(UTC) + timedelta(days=1))
    monitor_log.write(settings, tomorrow, bad)
    aside = list((tmp_path / "logs").glob("akig_monitoring-*.log"))
    assert len(aside) == 1
    assert "CRITICAL" in aside[0].read_text()
    assert "CRITICAL" not in (tmp_path / "logs" / "akig_monitoring.log").read_text()


def test_the_heartbeat_is_asked_unless_something_is_critical(application: Application) -> None:
    alerts = Alerts(heartbeat=SecretStr(f"{application.url}/ping/secret-token"))
    assert beat(alerts, passed(finding(Level.WARNING)))
    assert not beat(alerts, passed(finding(Level.CRITICAL)))
    assert not beat(Alerts(), passed())
    application.answers["/ping/secret-token"] = (404, 0)
    with pytest.raises(PraError, match="the heartbeat URL answered 404") as caught:
        beat(alerts, passed())
    assert "secret-token" not in str(caught.value)
