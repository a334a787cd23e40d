"""Parts of a failover that need no server: who still answers, what was said, what settings allow."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pra.errors import RestoreError, SettingsError
from pra.failover.commands import answers, refuse_if_alive
from pra.failover.plan import FailoverPlan, Outlook
from pra.failover.server import put_into_service
from pra.failover.words import lines
from pra.postgres.connect import Server
from pra.postgres.startable import ALONE
from pra.settings import Settings, load_settings
from pra.signing import Signer

KEY = Signer.generate().public_key


@pytest.fixture
def deaf_listen() -> Iterator[int]:
    """Something that accepts connections and never says a word: a server that hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_a_server_that_hangs_is_not_off(deaf_listen: int) -> None:
    server = Server.parse(f"host=127.0.0.1 port={deaf_listen} dbname=akig user=backup")
    with pytest.raises(RestoreError, match="still answers"):
        refuse_if_alive(server, "although it was fenced")


@pytest.mark.parametrize("host", ["127.0.0.1", "/nonexistent"])
def test_where_nobody_listens_nobody_answers(host: str, deaf_listen: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert not answers(Server.parse(f"host={host} port={port} dbname=akig user=backup sslmode=require"))


def test_the_plans_digest_is_of_what_is_done_and_of_nothing_else() -> None:
    plan = FailoverPlan(
        "akig", "restore", "db:5432/akig", chain=("B1",), repository="near", directory="/srv/dr"
    )
    again = FailoverPlan.from_json(plan.as_json())
    assert again == plan
    assert again.sha256 == plan.sha256
    other = FailoverPlan.from_json(plan.as_json() | {"directory": "/srv/elsewhere"})
    assert other.sha256 != plan.sha256
    assert "Expected loss: unknown" in lines(plan, Outlook())[-1]
    assert "Estimated time: 1 min 30 s" in lines(plan, Outlook(seconds=90))[-1]


def test_what_kept_it_alone_is_taken_out_and_nothing_else(tmp_path: Path) -> None:
    text = "port = '5432'\n\n# A restored server is nobody's copy: take these out\n"
    text += "".join(f"{name} = '{value}'\n" for name, value in ALONE.items())
    (tmp_path / "postgresql.conf").write_text(text)
    assert set(put_into_service(tmp_path)) == set(ALONE)
    assert (tmp_path / "postgresql.conf").read_text() == "port = '5432'\n\n"
    assert put_into_service(tmp_path) == ()
    assert list(tmp_path.iterdir()) == [tmp_path / "postgresql.conf"]


GOOD = {"directory": '"/srv/dr"', "dsn": '"host=/run/postgresql dbname=akig"', "approvers": f'["{KEY}"]'}
WRONG: dict[str, tuple[dict[str, str | None], str]] = {
    "no approver": ({"approvers": "[]"}, "failover.approvers"),
    "approvers left out": ({"approvers": None}, "approvers is missing"),
    "a key that is none": ({"approvers": '["ed25519:abc"]'}, "no ed25519:<base64> key"),
    "a retired key": ({"approvers": f'["{KEY} retired 2026-01-01T00:00:00Z"]'}, "no ed25519:<base64> key"),
    "no place to go": ({"directory": None}, "neither directory and dsn nor standby"),
    "a service without a file": ({"service": '"akig"'}, "belong together"),
    "a command that never ends": ({"fence": "'fence \"now'"}, "fence is no command"),
    "an empty command": ({"switch": '" "'}, "switch is no command"),
    "a password": ({"dsn": '"postgresql://me:secret@127.0.0.1/akig"'}, "failover.dsn holds a password"),
    "in the clear": ({"standby": '"postgresql://me@db.example.com/akig"'}, "leaves this machine without TLS"),
    "a misspelt key": ({"fense": '"x"'}, "unknown key targets.akig.failover.fense"),
    "no duration": ({"protect": '"soon"'}, "failover.protect"),
}


@pytest.mark.parametrize(("changed", "complaint"), WRONG.values(), ids=WRONG)
def test_settings_that_cannot_work_are_refused(
    tmp_path: Path, changed: dict[str, str | None], complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        load(tmp_path, {**GOOD, **changed})
    assert "secret" not in str(caught.value)
    assert caught.value.hint


def test_relative_paths_count_from_the_settings(tmp_path: Path) -> None:
    words = {**GOOD, "directory": '"dr"', "service": '"akig"', "service_file": '"pg_service.conf"'}
    found = load(tmp_path, words).target("akig").failover
    assert found is not None
    assert (found.directory, found.service_file) == (tmp_path / "dr", tmp_path / "pg_service.conf")


def load(folder: Path, words: Mapping[str, str | None]) -> Settings:
    text = '[targets.akig]\ndsn = "host=/run/postgresql dbname=akig"\nengine = "physical"\n'
    text += 'repositories = ["near"]\n[targets.akig.failover]\n'
    text += "".join(f"{key} = {value}\n" for key, value in words.items() if value is not None)
    file = folder / "pra.toml"
    file.write_text(text + f'[repositories.near]\nurl = "file://{folder}/near"\n')
    return load_settings(file, {"PRA_STATE_DIR": str(folder / "state"), "HOME": str(folder)})
