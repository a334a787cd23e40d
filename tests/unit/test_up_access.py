"""The password of the Prefect API: made once, readable by its owner alone, found by what shares the state."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from deployments.running.access import find_api, make_auth, record_api
from pra.errors import SettingsError
from pra.settings import Settings, load_settings
from pra.settings_running import auth_file, read_auth

API = "http://127.0.0.1:4711/api"


def settings(tmp_path: Path, **variables: str) -> Settings:
    found = {"PRA_STATE_DIR": str(tmp_path / "state"), "PRA_PREFECT__PORT": "4711", "HOME": str(tmp_path)}
    return load_settings(None, found | variables)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a folder with a pra.toml."""
    monkeypatch.chdir(tmp_path)


def test_it_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    made = make_auth(chosen)
    assert make_auth(chosen) == made
    assert made.startswith("pra:")
    assert len(made) > 30
    file = auth_file(chosen.state_dir)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [each.name for each in file.parent.iterdir()] == ["auth"]


def test_two_that_start_in_one_moment_agree(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    barrier, found = threading.Barrier(8), []

    def start() -> None:
        barrier.wait()
        found.append(make_auth(chosen))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_one_that_is_set_wins_and_is_written_nowhere(tmp_path: Path) -> None:
    chosen = settings(tmp_path, PRA_PREFECT__AUTH="us:ours")
    assert make_auth(chosen) == "us:ours"
    assert not auth_file(chosen.state_dir).exists()


def test_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    make_auth(chosen)
    auth_file(chosen.state_dir).chmod(0o640)
    with pytest.raises(SettingsError, match="mode 0640") as caught:
        make_auth(chosen)
    assert caught.value.hint.startswith("Run: chmod 600")


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    make_auth(chosen)
    auth_file(chosen.state_dir).write_text("not a pair\n")
    with pytest.raises(SettingsError, match="does not hold user:password"):
        read_auth(chosen.state_dir)


def test_before_the_first_start_nothing_is_found(tmp_path: Path) -> None:
    env: dict[str, str] = {}
    find_api(settings(tmp_path).state_dir, env=env)
    assert env == {}


def test_a_client_with_the_same_state_finds_address_and_password(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    made = make_auth(chosen)
    record_api(chosen)
    env: dict[str, str] = {}
    find_api(chosen.state_dir, env=env)
    assert env == {"PREFECT_API_URL": API, "PREFECT_API_AUTH_STRING": made}


def test_another_server_is_not_offered_our_password(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    make_auth(chosen)
    record_api(chosen)
    env = {"PREFECT_API_URL": "https://prefect.example.com/api"}
    find_api(chosen.state_dir, env=env)
    assert env == {"PREFECT_API_URL": "https://prefect.example.com/api"}
    status = settings(tmp_path, PREFECT_API_URL="https://prefect.example.com/api").status
    assert status.prefect_auth is None


def test_what_the_environment_says_stays(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    make_auth(chosen)
    record_api(chosen)
    env = {"PREFECT_API_URL": API, "PREFECT_API_AUTH_STRING": "somebody:else"}
    find_api(chosen.state_dir, chosen.prefect.auth, env)
    assert env["PREFECT_API_AUTH_STRING"] == "somebody:else"


def test_a_password_that_is_set_goes_to_the_server_that_is_named(tmp_path: Path) -> None:
    """As in containers: the server is another one, and nothing was made here."""
    chosen = settings(tmp_path, PRA_PREFECT__AUTH="us:ours", PREFECT_API_URL="http://prefect:4200/api")
    env = {"PREFECT_API_URL": "http://prefect:4200/api"}
    find_api(chosen.state_dir, chosen.prefect.auth, env)
    assert env["PREFECT_API_AUTH_STRING"] == "us:ours"
    assert chosen.status.prefect_auth is not None
    assert chosen.status.prefect_auth.get_secret_value() == "us:ours"


def test_the_status_asks_the_server_of_its_state(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    assert chosen.status.prefect_api is None
    made = make_auth(chosen)
    record_api(chosen)
    status = settings(tmp_path).status
    assert status.prefect_api == API
    assert status.prefect_auth is not None
    assert status.prefect_auth.get_secret_value() == made
    assert made not in repr(status)
