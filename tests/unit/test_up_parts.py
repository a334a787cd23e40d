"""What `pra up` runs for which settings, how supervisord is told, and what is made of what it says. Pure."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

import pytest

from deployments.running.apart import require_apart
from deployments.running.environment import inherited, server_environment, worker_environment
from deployments.running.manager import State
from deployments.running.parts import parts_of, pool_of, supervisor_config
from deployments.running.place import Place
from deployments.running.stopping import group_of
from deployments.running.upkeep import Event, compare
from pra.errors import NotFoundError, SettingsError, UsageError
from pra.settings import Prefect, Settings, load_settings

TOML = """
[targets.dumped]
dsn = "postgresql://backup@127.0.0.1:5433/one"
repositories = ["here"]
[targets.copied]
dsn = "postgresql://backup@db.example.com:5432/two?sslmode=require"
engine = "physical"
repositories = ["here"]
[targets.also-copied]
dsn = "host=/run/postgresql dbname=three"
engine = "physical"
repositories = ["here"]
[repositories.here]
url = "file:///nowhere"
"""


def settings(tmp_path: Path, **variables: str) -> Settings:
    (tmp_path / "pra.toml").write_text(TOML)
    return load_settings(tmp_path / "pra.toml", {"PRA_STATE_DIR": str(tmp_path / "state"), **variables})


def test_a_server_two_workers_and_a_streamer_for_each_physical_target(tmp_path: Path) -> None:
    parts = parts_of(settings(tmp_path))
    names = [part.name for part in parts]
    assert names == ["prefect", "wal-copied", "wal-also-copied", "worker-backup", "worker-verify"]
    assert parts[1].argv[1:] == ("-m", "deployments.cli", "wal", "stream", "copied")


def test_the_emergency_worker_runs_only_when_it_is_asked_for(tmp_path: Path) -> None:
    assert [part.name for part in parts_of(settings(tmp_path), emergency=True)][-1] == "worker-emergency"


def test_supervisord_ends_workers_before_streamers_before_the_server(tmp_path: Path) -> None:
    """It ends the highest priority first; and so do we, by name, where it has been killed."""
    parts = parts_of(settings(tmp_path), emergency=True)
    by_rank = sorted(parts, key=lambda part: -part.rank)
    by_group = sorted(by_rank, key=lambda part: group_of(part.name))
    kinds = [part.name.partition("-")[0] for part in by_rank]
    assert kinds == ["worker"] * 3 + ["wal"] * 2 + ["prefect"]
    assert by_group == by_rank


def test_workers_wait_for_the_api_and_streamers_do_not(tmp_path: Path) -> None:
    at_once = {part.name for part in parts_of(settings(tmp_path)) if part.at_once}
    assert at_once == {"prefect", "wal-copied", "wal-also-copied"}


def test_a_name_that_is_no_part_is_refused() -> None:
    assert (pool_of("prefect"), pool_of("worker-verify")) == (None, "verify")
    for name in ("worker-", "worker-elsewhere", "wal-copied", "backup"):
        with pytest.raises(NotFoundError, match=name) as caught:
            pool_of(name)
        assert "worker-backup" in caught.value.hint


@pytest.mark.parametrize("folder", ["plain", "with blanks", "état", "a;b", 'quote\'d "twice"'])
def test_every_usual_path_survives_the_file(tmp_path: Path, folder: str) -> None:
    """Read back by the parser that supervisord uses, with its rules."""
    place = Place(tmp_path / folder)
    text = supervisor_config(place, parts_of(settings(tmp_path)))
    found = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    found.read_string(text)
    assert found["unix_http_server"]["file"] == str(place.socket)
    assert found["program:wal-copied"]["stdout_logfile"] == str(place.log("wal-copied"))
    assert found["program:worker-backup"]["command"].startswith(sys.executable)


@pytest.mark.parametrize("folder", ["a ;b", "a #b", "a\nb", "100%"])
def test_a_path_that_would_be_cut_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(UsageError, match="cannot stand") as caught:
        supervisor_config(Place(tmp_path / folder), parts_of(settings(tmp_path)))
    assert caught.value.hint


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    long = Place(tmp_path / ("x" * 120))
    with pytest.raises(UsageError, match="too long for a socket"):
        long.make()
    assert not long.state_dir.exists()


def test_the_pages_ask_the_port_that_the_server_listens_on(tmp_path: Path) -> None:
    found = server_environment(tmp_path, Prefect(port=4711), "pra:secret")
    assert found["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4711/api"
    assert found["PREFECT_SERVER_API_AUTH_STRING"] == found["PREFECT_API_AUTH_STRING"] == "pra:secret"
    behind = server_environment(tmp_path, Prefect(url="https://prefect.example.com/"), None)
    assert behind["PREFECT_SERVER_UI_API_URL"] == "https://prefect.example.com/api"
    assert behind["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert "PREFECT_SERVER_API_AUTH_STRING" not in behind


def test_nothing_reports_to_anybody_and_no_foreign_key_is_offered(tmp_path: Path) -> None:
    found = worker_environment(tmp_path, "http://x/api", "a:b", state_dir=tmp_path, config=None)
    assert found["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert found["DO_NOT_TRACK"] == "1"
    assert "PRA_CONFIG" not in found
    assert inherited({"PREFECT_API_KEY": "x", "PREFECT_PROFILE": "y", "PATH": "z"}) == {"PATH": "z"}


def test_prefect_reads_what_we_write_about_how_long_things_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.settings import Settings as PrefectSettings

    chosen = Prefect.model_validate({"keep_runs": "30d", "keep_events": "5d", "keep_heartbeats": "12h"})
    for name, value in server_environment(tmp_path, chosen).items():
        monkeypatch.setenv(name, value)
    server = PrefectSettings().server
    vacuum = server.services.db_vacuum
    assert vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert vacuum.retention_period.days == 30
    assert server.events.retention_period.days == 5
    (kept,) = vacuum.event_retention_overrides.items()
    assert (kept[0], kept[1].total_seconds()) == ("prefect.flow-run.heartbeat", 12 * 3600)
    assert server.concurrency.lease_storage.endswith(".filesystem")


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("localhost:5433", "dumped"),
        ("127.0.0.1:5433", "dumped"),
        ("DB.example.com", "copied"),
        ("localhost:5432", "also-copied"),  # by its socket, but the same server
        ("127.0.0.1:5434", None),
        ("db2.example.com:5432", None),
    ],
)
def test_the_history_must_not_lie_on_a_protected_server(
    tmp_path: Path, place: str, target: str | None
) -> None:
    url = f"postgresql+asyncpg://prefect:secret@{place}/prefect"
    chosen = settings(tmp_path, PRA_PREFECT__DATABASE=url)
    if target is None:
        require_apart(chosen)
        return
    with pytest.raises(SettingsError, match=f"target {target} ") as caught:
        require_apart(chosen)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ('host = "0.0.0.0"', "leaves this machine without TLS"),
        ('url = "http://prefect.example.com"', "leaves this machine without TLS"),
        ('url = "https://user:word@prefect.example.com"', "holds credentials"),
        ("port = 70000", "prefect.port"),
        ('keep_runs = "30min"', "too short"),
        ('keep_events = "0s"', "keep_events"),
        ('auth = "pra:secret"', "is a secret"),
        ('database = "postgresql+asyncpg://a:b@c/d"', "is a secret"),
        ("prot = 4201", "unknown key"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, toml: str, complaint: str) -> None:
    (tmp_path / "pra.toml").write_text(f"[prefect]\n{toml}\n")
    with pytest.raises(SettingsError, match=complaint) as caught:
        load_settings(tmp_path / "pra.toml", {"PRA_STATE_DIR": str(tmp_path / "state")})
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("PRA_PREFECT__AUTH", "no-colon", "user:password"),
        ("PRA_PREFECT__AUTH", "someone:", "user:password"),
        ("PRA_PREFECT__AUTH", "user:two\nlines", "user:password"),
        ("PRA_PREFECT__DATABASE", "mysql://user:hush@host/db", "database"),
        ("PRA_PREFECT__DATABASE", "postgresql://user:hush@host/db", "database"),
    ],
)
def test_a_bad_secret_is_refused_and_not_repeated(
    tmp_path: Path, name: str, value: str, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        settings(tmp_path, **{name: value})
    assert value not in str(caught.value)


def seen(state: str, pid: int) -> dict[str, State]:
    return {"part": State("part", state, pid, 0)}


@pytest.mark.parametrize(
    ("before", "now", "events"),
    [
        (("RUNNING", 7), ("RUNNING", 7), []),
        (("RUNNING", 7), ("STARTING", 8), ["ended"]),
        (("RUNNING", 7), ("BACKOFF", 0), ["ended"]),
        (("STARTING", 7), ("BACKOFF", 0), []),  # it never was up
        (("BACKOFF", 0), ("FATAL", 0), ["down"]),
        (("RUNNING", 7), ("FATAL", 0), ["ended", "down"]),
        (("STOPPED", 0), ("RUNNING", 9), []),
    ],
)
def test_what_two_looks_tell(before: tuple[str, int], now: tuple[str, int], events: list[str]) -> None:
    assert compare(seen(*before), seen(*now)) == [Event(what, "part") for what in events]  # type: ignore[arg-type]


def test_what_does_not_stay_up_is_told_once_and_so_is_its_return() -> None:
    assert compare(seen("FATAL", 0), seen("FATAL", 0), {"part"}) == []
    assert compare(seen("FATAL", 0), seen("STARTING", 9), {"part"}) == []
    assert compare(seen("STARTING", 9), seen("RUNNING", 9), {"part"}) == [Event("back", "part")]


def test_the_first_look_tells_nothing() -> None:
    assert compare({}, seen("RUNNING", 7)) == []
