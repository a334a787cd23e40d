"""What a runbook says of proofs and drills: the newest believable record, or what is remembered of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.cli.app import run
from pra.keys import Signer
from pra.runbook import Facts, gather, render
from pra.settings import load_settings
from tests.fix_metrics import NOW, Past, make_past

HOUR = timedelta(hours=1)
DAY = 24 * HOUR


def verification(repository: str, verdict: str = "PASS", rto: int = 240_000) -> dict[str, object]:
    return {
        "verdict": verdict,
        "backup_id": "20261120T090000Z-full-0a0a",
        "repository": repository,
        "rto_milliseconds": rto,
        "rpo_milliseconds": 1000,
        "environment": "sandbox",
    }


def drill(scenario: str, verdict: str, rto: int | None) -> dict[str, object]:
    return {
        "verdict": verdict,
        "scenario": scenario,
        "rto": None if rto is None else {"target_milliseconds": 1_800_000, "actual_milliseconds": rto},
        "rpo": {"target_milliseconds": 3_600_000, "actual_milliseconds": 4000},
    }


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """Proofs of both copies, drills of two scenarios; the newest of each is not the last that was written."""
    past = make_past(tmp_path, engine="physical")
    past.record("drill", NOW - 200 * DAY, drill("database-down", "FAIL", 900_000))
    past.record("drill", NOW - 100 * DAY, drill("database-down", "PASS", 480_000))
    past.record("drill", NOW - 90 * DAY, drill("site-loss", "PARTIAL", 700_000))
    past.record("drill", NOW - 80 * DAY, drill("site-loss", "interrupted", None))
    past.record("verification", NOW - 9 * DAY, verification("far"))
    past.record("verification", NOW - 3 * DAY, verification("near"))
    past.record("verification", NOW - 2 * DAY, verification("far", "FAIL"))
    past.record("expiry", NOW - HOUR, {})
    return past


def facts_of(past: Past, **options: object) -> Facts:
    return gather(past.settings, clock=past.clock, **options)  # type: ignore[arg-type]


def rows(text: str, beginning: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith(beginning)]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def said(past: Past, **options: object) -> str:
    return render(past.settings, facts_of(past, **options), "en")


def test_the_last_pass_of_each_repository_is_named(past: Past) -> None:
    text = said(past)
    assert rows(text, "| `db` | `near` | 2") == [
        ["`db`", "`near`", "20 Nov 2026, 06:00:00 UTC", "`20261120T090000Z-full-0a0a`", "4 min 00 s"]
    ]
    assert rows(text, "| `db` | `far` | 1")[0][2] == "14 Nov 2026, 06:00:00 UTC"


def test_each_scenario_says_how_its_last_drill_went(past: Past) -> None:
    text = said(past)
    assert "| `db` | 15 Aug 2026 | PASS | 8 min 00 s | 4.00 s |" in text.split("## Database down")[1][:300]
    assert "| `db` | 25 Aug 2026 | PARTIAL | 11 min 40 s | 4.00 s |" in text.split("## Site loss")[1][:300]
    assert "Last rehearsed: no drill of it is known." in text.split("## Intrusion")[1][:300]


def test_the_rto_clock_leaves_half_as_much_again_as_was_measured(past: Past) -> None:
    """30 min less 1.5 times the 8 min of the drill that passed; half of it where nothing was measured."""
    (row,) = [row for row in rows(said(past), "| `db` | 1 h") if len(row) == 5]
    assert row == ["`db`", "1 h", "30 min", "8 min 00 s", "**18 min**"]
    (row,) = rows(render(past.settings, None, "en"), "| `db` | 1 h")
    assert row[3:] == ["unknown", "**15 min**"]


def test_a_light_drill_does_not_make_the_recovery_look_short(tmp_path: Path) -> None:
    """One table was mended in 30 s; a proof of the whole server took 12 min."""
    past = make_past(tmp_path, engine="physical")
    past.record("drill", NOW - 2 * DAY, drill("data-loss", "PASS", 30_000))
    past.record("verification", NOW - 3 * DAY, verification("near", rto=720_000))
    (row,) = [row for row in rows(said(past), "| `db` | 1 h") if len(row) == 5]
    assert row[3:] == ["12 min 00 s", "**12 min**"]


def test_what_never_happened_is_not_unknown(tmp_path: Path) -> None:
    text = said(make_past(tmp_path))
    assert rows(text, "| `db` | `near`")[0][2] == "never"
    assert (
        rows(render(make_past(tmp_path / "other").settings, None, "en"), "| `db` | `near`")[0][2] == "unknown"
    )


def test_what_cannot_be_believed_is_not_said(past: Past) -> None:
    stranger = Signer.generate()
    past.record("verification", NOW - HOUR, verification("near"), signer=stranger)
    past.record("verification", NOW + DAY, verification("near"))
    found = facts_of(past)
    assert found.targets["db"].proofs["near"].at == NOW - 3 * DAY
    assert "evidence 9 in near" in found.targets["db"].problem


def test_another_copy_is_read_where_the_first_is_gone(past: Past) -> None:
    (past.home / "near").rename(past.home / "gone")
    found = facts_of(past)
    assert found.targets["db"].proofs["far"].at == NOW - 9 * DAY
    assert not found.targets["db"].remembered
    assert "near" in found.targets["db"].problem


def test_a_repository_that_was_named_anew_says_nothing_of_the_past(past: Past) -> None:
    (past.home / "near").rename(past.home / "gone")
    (past.home / "near").mkdir(mode=0o700)
    found = facts_of(past).targets["db"]
    assert found.proofs["far"].at == NOW - 9 * DAY
    assert (found.remembered, found.problem) == (False, "")


def test_what_was_read_once_is_remembered_when_everything_is_gone(past: Past) -> None:
    before = facts_of(past)
    for name in ("near", "far"):
        (past.home / name).rename(past.home / f"{name}-gone")
    after = facts_of(past)
    assert after.targets["db"].remembered
    assert after.targets["db"].proofs == before.targets["db"].proofs
    assert after.targets["db"].drills == before.targets["db"].drills
    assert after.problems
    assert "near" in after.problems[0]
    assert "Not all is known of `db`" in render(past.settings, after, "en")


def test_offline_nothing_is_read_but_what_is_remembered(past: Past) -> None:
    assert facts_of(past, offline=True).targets["db"].proofs == {}
    facts_of(past)
    assert set(facts_of(past, offline=True).targets["db"].proofs) == {"near", "far"}


def test_what_other_keys_vouched_for_is_not_remembered(past: Past) -> None:
    facts_of(past)
    for file in (past.home / "state" / "keys").glob("signing.key"):
        file.unlink()
    trusted = Signer.generate().public_key
    toml = (past.home / "pra.toml").read_text() + f'[signing]\ntrusted = ["{trusted}"]\n'
    (past.home / "pra.toml").write_text(toml)
    changed = load_settings(past.home / "pra.toml", {"PRA_STATE_DIR": str(past.home / "state")})
    assert gather(changed, clock=past.clock, offline=True).targets["db"].proofs == {}


@pytest.fixture
def deaf() -> Iterator[int]:
    """A server that accepts and never answers. Yields its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


def test_a_repository_that_hangs_does_not_keep_the_page_from_being_written(past: Past, deaf: int) -> None:
    """It is asked once for all targets, within the limit, and the next one in line answers."""
    toml = (past.home / "pra.toml").read_text()
    toml = toml.replace(f"file://{past.home}/near", "s3://bucket/pra").replace(
        "[repositories.far]",
        f'endpoint = "http://127.0.0.1:{deaf}"\naccess_key_id = "x"\n\n[repositories.far]',
    )
    toml += "".join(
        f'[targets.t{n}]\ndsn = "host=127.0.0.1"\nrepositories = ["near", "far"]\n' for n in range(20)
    )
    (past.home / "pra.toml").write_text(toml)
    variables = {
        "PRA_STATE_DIR": str(past.home / "state"),
        "PRA_REPOSITORIES__NEAR__SECRET_ACCESS_KEY": "x",
    }
    settings = load_settings(past.home / "pra.toml", variables)
    began = time.monotonic()
    found = gather(settings, clock=past.clock, seconds=0.5)
    assert time.monotonic() - began < 8
    assert found.targets["db"].proofs["far"].at == NOW - 9 * DAY
    assert "near: no answer within 0.5 s" in found.targets["db"].problem
    assert all("near" in each.problem for each in found.targets.values())


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def console(past: Past, monkeypatch: pytest.MonkeyPatch) -> Past:
    monkeypatch.chdir(past.home)
    monkeypatch.setenv("PRA_STATE_DIR", str(past.home / "state"))
    return past


def test_the_command_writes_the_page_and_says_what_is_not_known(
    console: Past, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["runbook", "--output", "out/runbook.html", "--html", "--language", "fr"]) == 0
    assert capsys.readouterr().out == ""
    file = console.home / "out" / "runbook.html"
    assert file.stat().st_mode & 0o777 == 0o600
    html = file.read_text()
    assert "20 nov. 2026" in html
    assert str(console.home / "pra.toml") in html
    for name in ("near", "far"):
        (console.home / name).rename(console.home / f"{name}-gone")
    assert run(["runbook", "--json"]) == 2
    written = capsys.readouterr()
    document = json.loads(written.out)
    assert document["schema"] == "pra/runbook/1"
    assert document["language"] == "en"
    assert document["form"] == "markdown"
    assert document["file"] is None
    assert "20 Nov 2026" in document["text"]
    assert len(document["problems"]) == 1
    assert "warning: db: near" in written.err
