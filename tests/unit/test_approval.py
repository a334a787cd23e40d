"""Approval by a second key: what is believed, and each way in which an answer is not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.cli.app import run
from pra.approval import (
    Challenge,
    answer,
    check_answer,
    check_approvers,
    digest,
    make_challenge,
    read_challenge,
)
from pra.document import canonical
from pra.errors import PraError, SettingsError, SignatureError, UsageError
from pra.keys import load_approver_key, make_approver_key
from pra.signing import Keyring, Signer

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
PLAN = {"target": "akig", "chain": ["20261122T070955Z-full-3f9c"], "directory": "/srv/dr"}
APPROVER = Signer.generate()


def clock() -> datetime:
    return NOW


def fresh(**changed: object) -> Challenge:
    made = make_challenge("akig", "20261122T100000Z-abc123", PLAN, lines=("Failover of akig.",), clock=clock)
    return replace(made, **changed)  # type: ignore[arg-type]


def believed(text: str, challenge: Challenge, **changed: object) -> object:
    words: dict[str, object] = {"plan_sha256": challenge.plan_sha256, "clock": clock, **changed}
    return check_answer(text, challenge, [APPROVER.public_key], **words)  # type: ignore[arg-type]


def decode(text: str) -> dict[str, object]:
    found = json.loads(base64.urlsafe_b64decode("".join(text.split())))
    assert isinstance(found, dict)
    return found


def encode(document: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(canonical(document)).decode()


def test_a_challenge_is_read_as_it_was_shown() -> None:
    """Through a terminal and a mail, which break lines and indent them."""
    challenge = fresh()
    text = "\n  ".join(challenge.text().splitlines()) + "\r\n\r\n"
    assert read_challenge(text) == challenge
    assert len(bytes.fromhex(challenge.nonce)) == 32
    assert max(len(line) for line in challenge.text().splitlines()) <= 100


def test_the_approvers_answer_is_believed() -> None:
    challenge = fresh()
    found = believed(answer(challenge, APPROVER, clock=clock), challenge)
    assert getattr(found, "key_id", None) == APPROVER.key_id
    assert getattr(found, "nonce", None) == challenge.nonce


def altered(challenge: Challenge) -> str:
    return encode(decode(answer(challenge, APPROVER, clock=clock)) | {"plan_sha256": "0" * 64})


def another_key_id(challenge: Challenge) -> str:
    mine = Signer.generate()
    return encode(decode(answer(challenge, mine, clock=clock)) | {"key_id": APPROVER.key_id})


def unsigned(challenge: Challenge) -> str:
    document = decode(answer(challenge, APPROVER, clock=clock))
    del document["signature"]
    return encode(document)


REFUSED: dict[str, tuple[Callable[[Challenge], str], type[PraError], str]] = {
    "another key": (lambda c: answer(c, Signer.generate(), clock=clock), SignatureError, "unknown key"),
    "another key under the approver's name": (another_key_id, SignatureError, "does not match"),
    "an altered answer": (altered, SignatureError, "does not match"),
    "an unsigned answer": (unsigned, SignatureError, "not signed"),
    "another challenge's answer": (
        lambda c: answer(fresh(), APPROVER, clock=clock), SignatureError, "belongs to another challenge",
    ),
    "the challenge itself": (lambda c: c.text(), UsageError, "this is no answer"),
    "half an answer": (lambda c: answer(c, APPROVER, clock=clock)[:150], UsageError, "this is no answer"),
    "nothing": (lambda c: " \n", UsageError, "this is no answer"),
    "not base64": (lambda c: "no thanks!", UsageError, "this is no answer"),
    "far too much": (lambda c: "A" * 100_000, UsageError, "this is no answer"),
    "bytes that are no text": (lambda c: "\udcff\u00e9", UsageError, "this is no answer"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "complaint"), REFUSED.values(), ids=REFUSED)
def test_an_answer_that_proves_nothing_is_refused(
    make: Callable[[Challenge], str], kind: type[PraError], complaint: str
) -> None:
    challenge = fresh()
    with pytest.raises(kind, match=complaint) as caught:
        believed(make(challenge), challenge)
    assert caught.value.hint


def test_an_answer_that_was_used_is_not_used_again() -> None:
    challenge = fresh()
    text = answer(challenge, APPROVER, clock=clock)
    with pytest.raises(SignatureError, match="used before"):
        believed(text, challenge, used={challenge.nonce})


def test_an_expired_challenge_is_neither_signed_nor_believed() -> None:
    challenge = fresh()
    text = answer(challenge, APPROVER, clock=clock)
    late = lambda: NOW + timedelta(hours=1)  # noqa: E731
    with pytest.raises(UsageError, match="expired"):
        believed(text, challenge, clock=late)
    with pytest.raises(UsageError, match="expired"):
        answer(challenge, APPROVER, clock=late)


def test_a_plan_that_changed_since_was_not_approved() -> None:
    challenge = fresh()
    text = answer(challenge, APPROVER, clock=clock)
    with pytest.raises(UsageError, match="no longer the one"):
        believed(text, challenge, plan_sha256=digest({**PLAN, "directory": "/elsewhere"}))


@pytest.mark.parametrize(
    "changed",
    [{"plan": {**PLAN, "directory": "/elsewhere"}}, {"nonce": "00"}, {"nonce": "zz" * 32}],
    ids=["plan", "short nonce", "no nonce"],
)
def test_a_challenge_that_contradicts_itself_is_refused(changed: dict[str, object]) -> None:
    """An approver must not sign the digest of one plan while he is shown another."""
    with pytest.raises(UsageError, match="no challenge"):
        read_challenge(fresh(**changed).text())


def test_a_key_that_signs_here_cannot_approve() -> None:
    ours = Signer.generate()
    check_approvers([APPROVER.public_key], Keyring([ours.trusted]))
    with pytest.raises(UsageError, match="also signs"):
        check_approvers([APPROVER.public_key, ours.public_key], Keyring([ours.trusted]))


def test_an_approvers_key_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "approver.key"
    made = make_approver_key(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_approver_key(file).public_key == made.public_key
    with pytest.raises(UsageError, match="exists already"):
        make_approver_key(file)
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="mode 0644"):
        load_approver_key(file)


# -- the command line, where there is no pra.toml ------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An approver's own machine: an empty folder, no settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRA_CONFIG", raising=False)
    monkeypatch.setenv("PRA_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def test_a_challenge_is_answered_without_any_settings(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["key", "approver", "--json"]) == 0
    public = json.loads(capsys.readouterr().out)["public_key"]
    challenge = make_challenge("akig", "f1", PLAN, lines=("Restore into /srv/dr.",))
    (elsewhere / "challenge").write_text(challenge.text())
    assert run(["approve", "challenge"]) == 0
    written = capsys.readouterr()
    assert "Restore into /srv/dr." in written.err
    found = check_answer(written.out, challenge, [public], plan_sha256=challenge.plan_sha256)
    assert found.nonce == challenge.nonce


WRONG = {
    "no key": (["approve", "challenge"], "no approver's key"),
    "no file": (["approve", "nowhere", "--key-file", "key"], "cannot read nowhere"),
    "no challenge": (["approve", "empty", "--key-file", "key"], "this is no challenge"),
    "a key that others can read": (["approve", "challenge", "--key-file", "open"], "mode 0644"),
    "a folder for a key": (["key", "approver", "--key-file", "key/below"], "cannot use"),
    "a key is there": (["key", "approver", "--key-file", "key"], "exists already"),
}


@pytest.mark.parametrize(("argv", "complaint"), WRONG.values(), ids=WRONG)
def test_wrong_usage_exits_64(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], argv: list[str], complaint: str
) -> None:
    make_approver_key(elsewhere / "key")
    make_approver_key(elsewhere / "open")
    (elsewhere / "open").chmod(0o644)
    (elsewhere / "empty").write_text("")
    (elsewhere / "challenge").write_text(fresh().text())
    before = sorted(elsewhere.iterdir())
    assert run(argv) == 64
    written = capsys.readouterr()
    assert complaint in written.err
    assert "hint:" in written.err
    assert sorted(elsewhere.iterdir()) == before
