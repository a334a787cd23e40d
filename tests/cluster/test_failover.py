"""The failover on real servers: approved, fenced, recovered, protected again; and what it refuses."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from checks import Checks
from deployments.cli.app import run as run_cli
from pra import service_file
from pra.approval import Challenge, answer, challenge_of
from pra.drill.record import record_of
from pra.errors import NotFoundError, RestoreError, SignatureError, UsageError
from pra.failover.state import Reply
from pra.model import CheckResult, Status, Verdict
from pra.procedures import failover
from pra.restored import RestoredDatabase
from pra.signing import Signer
from pra.timing import utc_now
from tests.fix_cluster import Cluster
from tests.fix_failover import FailoverWorld, run_pra, streamed_rows
from tests.fix_stream import Streamer, wait_until

pytestmark = pytest.mark.timeout(200)


def test_a_lost_server_is_replaced_and_protected_again(failing: FailoverWorld) -> None:
    """Everything that had reached a repository comes back; the service file, the hooks, the proof."""
    world = failing.world
    world.backup()
    streamed_rows(failing, 2001, 20)
    hands = failing.hands()
    done = failing.failover(hands)
    assert done.verdict is Verdict.PASS, failing.told(done)
    assert done.finished
    assert failing.rows() == 1020
    assert [step.name for step in done.record.steps] == list(failover.PHASES)
    assert (failing.times("fenced"), failing.times("switched"), failing.times("announced")) == (1, 1, 1)
    words = service_file.read(failing.place / "pg_service.conf", "app")
    assert words["dbname"] == "app"
    assert "password" not in words

    by = [one.by for one in done.record.interventions]
    assert by == [f"key {failing.approver.key_id}"]
    kinds = [body["step"] for body in failing.evidence("failover-step") if body["state"] == "done"]
    assert kinds == list(failover.PHASES)
    (body,) = failing.evidence("failover")
    assert record_of("failover", body).verdict is Verdict.PASS
    (proof,) = failing.evidence("verification")
    assert proof["verdict"] == "PASS"
    (slot,) = failing.cluster.query(
        "app", "SELECT active FROM pg_replication_slots WHERE slot_name = 'pra_db'"
    )
    assert slot == (True,)
    text = (failing.directory / "postgresql.conf").read_text()
    assert "archive_mode" not in text


# -- nothing happens without a second person, and a fence ----------------------------------------------


def untouched(failing: FailoverWorld, before: dict[str, list[str]]) -> None:
    """The old world is as it was: it serves, nothing was stored but evidence, nothing was made or told."""
    assert failing.rows() == 1000
    assert failing.keys() == before
    assert not failing.directory.exists()
    assert [failing.times(name) for name in ("fenced", "switched", "announced")] == [0, 0, 0]
    assert not (failing.place / "pg_service.conf").exists()
    assert not list(failing.place.glob(".recovered*"))


def test_an_abort_leaves_the_old_world_as_it_was(failing: FailoverWorld) -> None:
    failing.world.backup()
    before = failing.keys()
    no = Reply(abort=True, by="me", comment="false alarm")
    done = failing.failover(failing.hands(reply=lambda _: no))
    assert (done.verdict, done.finished) == ("aborted", True)
    untouched(failing, before)
    (body,) = failing.evidence("failover")
    record = record_of("failover", body)
    assert record.verdict == "aborted"
    assert [(one.by, one.decision, one.comment) for one in record.interventions] == [
        ("me", "abort", "false alarm")
    ]
    with pytest.raises(NotFoundError, match="no failover that was interrupted"):
        failing.failover(resume=True)


def test_answers_that_prove_nothing_touch_nothing(failing: FailoverWorld) -> None:
    """A wrong approver's key, an expired challenge, a replayed answer, an altered plan."""
    failing.world.backup()
    before = failing.keys()
    stranger = Signer.generate()
    with pytest.raises(SignatureError, match="unknown key"):
        failing.failover(failing.hands(reply=lambda c: Reply(answer(c, stranger))))
    untouched(failing, before)

    # What was signed for the first failover; this one begins anew and puts that one aside.
    earlier = answer(shown_last(failing), failing.approver)
    with pytest.raises(SignatureError, match="belongs to another challenge"):
        failing.failover(failing.hands(reply=lambda _: Reply(earlier)))
    assert [body["verdict"] for body in failing.evidence("failover")] == ["superseded"]

    ahead = [timedelta(0)]
    failing.world.clock = lambda: utc_now() + ahead[0]

    def too_late(challenge: Challenge) -> Reply:
        text = answer(challenge, failing.approver)
        ahead[0] = timedelta(hours=2)
        return Reply(text)

    with pytest.raises(UsageError, match="expired"):
        failing.failover(failing.hands(reply=too_late), resume=True)
    ahead[0] = timedelta(0)

    def meanwhile(challenge: Challenge) -> Reply:
        failing.world.backup()
        return Reply(answer(challenge, failing.approver))

    with pytest.raises(UsageError, match="no longer the one that was approved"):
        failing.failover(failing.hands(reply=meanwhile), resume=True)
    untouched(failing, failing.keys())

    old = answer(shown_last(failing), failing.approver)
    failing.change(switch=f"{failing.place}/hooks/announce")
    with pytest.raises(SignatureError, match="belongs to another challenge"):
        failing.failover(failing.hands(reply=lambda _: Reply(old)), resume=True)
    with pytest.raises(SignatureError, match="unknown key"):
        failing.failover(failing.hands(signer=stranger), resume=True)
    untouched(failing, failing.keys())


def shown_last(failing: FailoverWorld) -> Challenge:
    """The challenge of the newest plan in the evidence."""
    plans = [b for b in failing.evidence("failover-step") if b["step"] == "plan"]
    return challenge_of(plans[-1]["facts"]["challenge"])


def test_an_old_server_that_still_answers_is_refused(failing: FailoverWorld) -> None:
    """Though its fence exits 0; once it is really off, the failover goes on."""
    failing.world.backup()
    before = failing.keys()
    (failing.place / "fence-is-broken").touch()
    with pytest.raises(RestoreError, match="still answers") as caught:
        failing.failover()
    assert "--resume" in caught.value.hint
    assert failing.rows() == 1000
    assert failing.keys() == before
    assert not failing.directory.exists()
    (failing.place / "fence-is-broken").unlink()
    failing.change(streamer=None, protect="1s")  # which is another plan
    hands = failing.hands()
    done = failing.failover(hands, resume=True)
    assert (done.verdict, done.finished) == (Verdict.PARTIAL, False), failing.told(done)
    assert "no streamer" in failing.told(done)
    assert any("pra wal stream db" in line for line in hands.said)
    assert len(hands.shown) == 1
    assert failing.times("fenced") == 2


def test_without_a_fence_somebody_types_that_it_is_off(failing: FailoverWorld) -> None:
    failing.world.backup()
    failing.change(fence=None)
    for typed in ("", "yes", "DB"):
        with pytest.raises(UsageError, match="nobody said that the old server is off"):
            failing.failover(failing.hands(typed=typed), resume=typed != "")
    with pytest.raises(RestoreError, match="still answers"):
        failing.failover(failing.hands(typed="db"), resume=True)
    assert not failing.directory.exists()
    with pytest.raises(UsageError, match="not the target's name"):
        failing.failover(old_is_off="prod", resume=True)


# -- it goes on where it was interrupted ---------------------------------------------------------------

KILL = """
import os, signal
from pra.failover.journal import Journal
end = Journal.end
def killed(self, step):
    if step.name == {step!r} and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    record = end(self, step)
    if step.name == {step!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    return record
Journal.end = killed
"""
PROVE = """
import atexit, sys
atexit.register(lambda: "prefect" in sys.modules and sys.stderr.write("(Prefect was loaded)"))
"""


SOME = ("plan", "recover", "announce")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("steps", "before"),
    [
        pytest.param(SOME, False, id="some steps", marks=pytest.mark.all),
        pytest.param(failover.PHASES, False, id="every step", marks=pytest.mark.all),
        pytest.param(failover.PHASES, True, id="every step, not recorded", marks=pytest.mark.all),
    ],
)
def test_killed_at_the_end_of_a_step_it_goes_on(
    failing: FailoverWorld, steps: tuple[str, ...], before: bool
) -> None:
    """SIGKILL just behind, or just before, a step's record. What is recorded is done once and no more."""
    failing.world.backup()
    answered, words = failing.place / "answer", ["failover", "db", "--approval"]
    words.append(str(answered))
    for number, step in enumerate(steps):
        again = ["--resume"] if number else ["--disaster-at", "2 minutes ago"]
        program = KILL.format(step=step, before=before and step not in ("plan", "approve"))
        # Pasted once: with the empty line at its end.
        pasted = f"{answered.read_text()}\n" if number == 1 else ""
        how = words[:2] if pasted else words
        ended = run_pra(failing, *how, *again, stdin=pasted, program=program)
        assert ended.returncode == -9, (step, ended.stderr)
        if step == "plan":
            approve_by_command(failing, answered)
    page = failing.place / "report.html"
    last = run_pra(failing, *words, "--resume", "--json", "--report", str(page), program=PROVE)
    assert last.returncode == 0, last.stderr
    assert "Prefect was loaded" not in last.stderr
    assert "</html>" in page.read_text()
    document = json.loads(last.stdout)
    assert document["verdict"] == "PASS"
    assert failing.rows() == 1000
    assert document["rto"]["actual_milliseconds"] > 120_000, "it counts from what was declared at first"
    assert failing.times("announced") == 1
    assert (failing.times("fenced"), failing.times("switched")) == ((2, 2) if before else (1, 1))
    told = [line for line in document["deviations"] if "announcement was interrupted" in line]
    assert len(told) == int(before)
    done = [b["step"] for b in failing.evidence("failover-step") if b["state"] == "done"]
    assert done == list(failover.PHASES)


def approve_by_command(failing: FailoverWorld, answered: Path) -> None:
    """As an approver does it: with the challenge that was shown, and his own key."""
    challenge = failing.place / "challenge"
    challenge.write_text(shown_last(failing).text())
    done = run_pra(failing, "approve", str(challenge), "--key-file", str(failing.key_file))
    assert done.returncode == 0, done.stderr
    answered.write_text(done.stdout)


# -- a standby, promoted -------------------------------------------------------------------------------


@pytest.fixture
def standby(failing: FailoverWorld) -> Iterator[Cluster]:
    """A streaming standby of the world's server, named in its settings instead of a directory."""
    primary = failing.cluster
    found = Cluster(primary.bindir)
    try:
        shutil.rmtree(found.pgdata)
        primary.run(
            "pg_basebackup", "-D", found.pgdata, "-d", primary.dsn(), "-X", "stream", "-R", "-c", "fast",
            as_account=True,
        )  # fmt: skip
        found.configure(
            f"port = {found.port}\nunix_socket_directories = '{found.directory}'\nhot_standby = on\n"
        )
        found.start()
        failing.change(directory=None, dsn=None, service_file=None, service=None, standby=found.dsn("app"))
        yield found
    finally:
        failing.end()
        found.remove()


def test_a_standby_is_promoted_with_all_it_has_received(failing: FailoverWorld, standby: Cluster) -> None:
    """Even where its replay was paused; then it is protected again under its own address."""
    failing.world.backup()
    standby.execute("postgres", "SELECT pg_wal_replay_pause()")
    failing.world.execute("INSERT INTO numbered (id) VALUES (5001)")
    end = failing.cluster.query("app", "SELECT pg_current_wal_flush_lsn()::text")[0][0]
    received = f"SELECT pg_last_wal_receive_lsn() >= '{end}'::pg_lsn"
    wait_until(lambda: standby.query("app", received) == [(True,)], what="the standby has received it")
    # The streamer that the hook starts has to look for the new server.
    hook = failing.place / "hooks" / "streamer"
    hook.write_text(
        hook.read_text().replace("PRA_CONFIG=", f"PRA_TARGETS__DB__DSN={standby.dsn('app')!r}, PRA_CONFIG=")
    )
    with pytest.raises(UsageError, match="cannot go back to a moment or a backup"):
        failing.failover(repository="near")
    done = failing.failover()
    assert done.verdict is Verdict.PASS, failing.told(done)
    assert standby.query("app", "SELECT pg_is_in_recovery(), count(*) FROM numbered") == [(False, 1001)]
    promotion = next(check for check in done.record.checks if check.name == "promotion")
    assert "timeline 1 → 2" in promotion.observed
    compared = next(check for check in done.record.checks if check.name == "fingerprint")
    assert compared.status is Status.NOT_APPLICABLE
    assert any("pra.toml" in line for line in done.record.afterwards)


def test_a_server_that_is_no_standby_is_refused(failing: FailoverWorld) -> None:
    failing.world.backup()
    failing.change(directory=None, dsn=None, standby=failing.cluster.dsn("app"))
    with pytest.raises(UsageError, match="is no standby"):
        failing.failover()
    assert not failing.evidence("failover-step")


# -- what is not finished, and what is asked for wrongly -----------------------------------------------


@pytest.mark.all
def test_it_stays_red_until_a_streamer_lives(failing: FailoverWorld) -> None:
    """Without a command the streamer's own is shown and waited for; then PARTIAL, and open."""
    failing.world.backup()
    failing.change(streamer=None, protect="1s")
    hands = failing.hands()
    done = failing.failover(hands)
    assert (done.verdict, done.finished) == (Verdict.PARTIAL, False)
    assert failing.rows() == 1000
    assert any("pra wal stream db" in line for line in hands.said)
    reason = next(check.reason for check in done.record.checks if check.name == "re-protected")
    assert "no streamer: nobody is connected to slot pra_db" in reason
    with pytest.raises(UsageError, match="interrupted behind its fence"):
        failing.failover()

    failing.change(protect="60s")
    streamer = Streamer(failing.world)
    try:
        again = failing.failover(resume=True)
    finally:
        streamer.kill()
    assert (again.verdict, again.finished) == (Verdict.PASS, True)
    assert failing.times("announced") == 1


@pytest.mark.all
def test_a_failed_check_stops_before_the_switch(failing: FailoverWorld) -> None:
    """Until somebody types the target's name; it is on record, and the verdict stays FAIL."""

    class Failing(Checks):
        def run(self, name: str, database: RestoredDatabase) -> Sequence[CheckResult]:
            found = super().run(name, database)
            if database.sandboxed:  # the verification of the first backup
                return found
            return [replace(one, status=Status.FAILED) if one.name == "recovery" else one for one in found]

    failing.world.backup()
    done = failing.failover(checks=Failing())
    assert (done.verdict, done.finished) == (Verdict.FAIL, False)
    assert (failing.times("switched"), failing.times("announced")) == (0, 0)
    again = failing.failover(checks=Failing(), resume=True, despite_checks="db")
    assert (again.verdict, again.finished) == (Verdict.FAIL, True)
    assert failing.times("switched") == 1
    assert [one.comment for one in again.record.interventions] == ["as agreed", "despite failed checks"]


WRONG = {
    "another name for the old server": (["--yes-old-is-off", "prod"], "--yes-old-is-off names 'prod'"),
    "a moment that is none": (["--disaster-at", "latest"], "--disaster-at is not a moment"),
    "no such repository": (["--repository", "moon"], "has no repository 'moon'"),
    "no such backup": (["--backup", "20200101T000000Z-full-0000"], "20200101T000000Z-full-0000"),
    "nothing to resume": (["--resume"], "no failover that was interrupted"),
    "nobody answers": ([], "nobody answered the challenge"),
}


def test_bad_input_exits_64_and_touches_nothing(
    failing: FailoverWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in failing.world.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    failing.world.backup()
    before = failing.keys()
    for words, complaint in WRONG.values():
        code, said = run_cli(["failover", "db", *words]), capsys.readouterr().err
        assert (code, complaint in said, "hint:" in said) == (64, True, True), (words, said)
    monkeypatch.setattr("sys.stdin", io.StringIO("abort\n"))
    assert run_cli(["failover", "db", "--resume"]) == 2
    assert "aborted" in capsys.readouterr().out
    failing.directory.mkdir()
    (failing.directory / "something").touch()
    assert run_cli(["failover", "db", "--dry-run"]) == 64
    assert "is not empty" in capsys.readouterr().err
    (failing.directory / "something").unlink()
    failing.directory.rmdir()
    untouched(failing, before)


def test_a_dry_run_says_what_would_be_done(failing: FailoverWorld) -> None:
    """And needs no Prefect for it."""
    failing.world.backup()
    before = failing.keys()
    done = run_pra(failing, "failover", "db", "--dry-run", "--json", program=PROVE)
    assert done.returncode == 0
    assert "Prefect was loaded" not in done.stderr
    found = json.loads(done.stdout)
    assert (found["plan"]["way"], found["plan"]["directory"]) == ("restore", str(failing.directory))
    assert not failing.evidence("failover-step")
    untouched(failing, before)


def test_an_approver_whose_key_signs_here_is_refused(failing: FailoverWorld) -> None:
    failing.world.backup()
    with failing.world.context() as context:
        failing.change(approvers=[context.signer.public_key])
    done = run_pra(failing, "failover", "db")
    assert (done.returncode, "also signs" in done.stderr) == (64, True), done.stderr
    assert not failing.evidence("failover-step")
