"""``pra evidence``: listed, shown, and verified with settings or without any."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deployments.cli.app import run
from pra.evidence import EvidenceLog
from pra.keys import load_keyring, load_signer, make_keys
from pra.settings import Settings, load_settings
from pra.storage.local import LocalStorage
from tests.fix_record import BACKUP_ID, make_storage

TOML = """
language = "{language}"
[targets.akig]
dsn = "host=127.0.0.1 port=1 user=backup dbname=akig"
repositories = ["local", "offsite"]
[repositories.local]
url = "file://{home}/local"
[repositories.offsite]
url = "file://{home}/offsite"
"""
CHECK = {"name": "rto", "status": "passed", "expected": "", "observed": "1 s", "reason": "", "details": []}
PROOF = {
    "verdict": "PASS",
    "backup_id": BACKUP_ID,
    "repository": "local",
    "operator": "someone@here",
    "backup": {"bytes": 5_200_000, "age_milliseconds": 61_000, "signature": "valid"},
    "rto": {"target_milliseconds": 1_800_000, "actual_milliseconds": 8000, "met": True, "how": "…"},
    "phases": [{"name": "fetch", "started_at": "2026-11-22T07:10:01.000000Z", "milliseconds": 900}],
    "checks": [CHECK],
    "comparison": {"records": [7, 4], "rto_milliseconds": {"median": 8000, "ratio": 1.0}},
    "deviations": ["content not_applicable: no suite"],
}


class Home:
    """An operator's working directory with three records in two repositories, and what the command said."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys
        self.speak("en")
        (path / "state").mkdir(mode=0o700)
        self.key = make_keys(path / "state" / "keys").signing_public_key
        self.storages = [make_storage(path / name, name) for name in ("local", "offsite")]
        self.log().append("verification", PROOF)
        self.log().append("expiry", {"repository": "local", "removed": ["a", "b"]})
        self.head = self.log().append("verification", {**PROOF, "verdict": "FAIL"}).head

    @property
    def settings(self) -> Settings:
        return load_settings(self.path / "pra.toml")

    def speak(self, language: str) -> None:
        (self.path / "pra.toml").write_text(TOML.format(language=language, home=self.path))

    def log(self, storages: Sequence[LocalStorage] = ()) -> EvidenceLog:
        signing, state = self.settings.signing, self.settings.state_dir
        keyring = load_keyring(signing, state)
        return EvidenceLog(storages or self.storages, "akig", load_signer(signing, state), keyring)

    def file(self, sequence: int, repository: str = "local") -> Path:
        return self.path / repository / "akig" / "evidence" / f"{sequence:010d}.json"

    def pra(self, *arguments: str, code: int = 0) -> str:
        """What it wrote: stdout, and stderr where it failed."""
        found = run(["evidence", *arguments])
        written = self._capsys.readouterr()
        assert found == code, written.err + written.out
        return written.out + written.err

    def document(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.pra(*arguments, "--json", code=code).splitlines()[0])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Home:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("PRA_", "PREFECT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PRA_STATE_DIR", str(tmp_path / "state"))
    return Home(tmp_path, capsys)


def test_records_are_listed_newest_first(home: Home) -> None:
    found = home.document("list")
    assert found["schema"] == "pra/evidence-list/1"
    assert [(i["sequence"], i["kind"], i["verdict"]) for i in found["items"]] == [
        (3, "verification", "FAIL"),
        (2, "expiry", None),
        (1, "verification", "PASS"),
    ]
    assert found["items"][0]["sha256"] == home.head.sha256
    assert [i["sequence"] for i in home.document("list", "--kind", "expiry")["items"]] == [2]
    lines = home.pra("list", "akig").splitlines()
    assert "expiry" in lines[3]
    assert "2 (local)" in lines[3]
    assert BACKUP_ID in lines[2]
    assert home.pra("list", "--kind", "drill").strip() == "There is no such evidence yet."


def test_a_record_that_cannot_be_believed_is_listed_with_the_reason(home: Home) -> None:
    for repository in ("local", "offsite"):
        home.file(2, repository).write_bytes(b"{")
    assert home.document("list", "--kind", "expiry", code=2)["items"][0]["problem"] == (
        "evidence 2 is not readable JSON"
    )
    assert "not readable JSON" in home.pra("list", code=2)
    assert "not readable JSON" in home.pra("show", "2", code=1)


def test_one_record_is_shown_whole(home: Home) -> None:
    shown = home.pra("show", "1")
    for words in (
        "1 verification PASS", "Beside the ones before: RTO × 1.00 (7, 4)", "By: someone@here",
        f"Backup: {BACKUP_ID}",
        "Signature of the manifest: valid",
        "5.2 MB", "1 min 01 s", "content not_applicable: no suite", "8.00 s", "30 min 00 s", "07:10:01",
        "0.90 s",
    ):  # fmt: skip
        assert words in shown
    found = home.document("show", "3")
    assert (found["schema"], found["sequence"]) == ("pra/evidence-record/1", 3)
    assert found["body"] == {**PROOF, "verdict": "FAIL"}
    assert "there is no record 4 of akig" in home.pra("show", "4", code=64)
    assert "there is no record 9" in home.document("show", "9", code=64)["error"]["message"]


def test_an_intact_chain_is_sound(home: Home) -> None:
    found = home.document("verify", "--head", home.head.short)
    assert found == {
        "schema": "pra/evidence-verify/1",
        "target": "akig",
        "sound": True,
        "records": 3,
        "head": {"sequence": 3, "sha256": home.head.sha256},
        "places": ["local", "offsite"],
        "known_heads": 1,
        "items": [],
        "unreached": [],
    }
    told = home.pra("verify")
    assert "Sound: the evidence of akig in local, offsite. Records: 3" in told
    assert "No head is known from elsewhere" in told
    assert home.head.short in told


def test_what_was_done_to_it_is_named_and_exits_1(home: Home) -> None:
    home.file(2).unlink()
    home.file(3, "offsite").write_bytes(home.file(3).read_bytes().replace(b"FAIL", b"PASS"))
    items = home.document("verify", code=1)["items"]
    assert [(each["sequence"], each["where"]) for each in items] == [(2, "local"), (3, "offsite")]
    told = home.pra("verify", code=1)
    assert "Not sound" in told
    assert "the record is missing in the middle; held by offsite" in told
    assert "does not match the content" in told
    assert f"up to its head {home.head.short}" in told


def test_a_tail_that_was_cut_off_everywhere_shows_against_a_known_head(home: Home) -> None:
    for repository in ("local", "offsite"):
        home.file(3, repository).unlink()
    assert home.document("verify")["sound"]
    items = home.document("verify", "--head", f"3:{home.head.sha256}", code=1)["items"]
    said = "the tail was cut off: the record is missing, known from --head"
    assert [each["message"] for each in items] == [said, said]


def test_a_repository_that_is_not_reached_exits_2(home: Home) -> None:
    shutil.rmtree(home.path / "offsite")
    found = home.document("verify", code=2)
    assert (found["sound"], [each["repository"] for each in found["unreached"]]) == (True, ["offsite"])
    assert "warning: offsite was not reached" in home.pra("verify", code=2)


def test_no_evidence_at_all_is_nothing_to_be_sure_of(home: Home) -> None:
    for repository in ("local", "offsite"):
        shutil.rmtree(home.path / repository / "akig")
    assert home.document("verify", code=2)["sound"] is None
    assert "There is no evidence yet." in home.pra("verify", code=2)


def test_copies_and_a_public_key_are_enough(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = home.path / "copies"
    shutil.copytree(home.file(1).parent, copies)
    for name in ("pra.toml", "state", "local", "offsite"):
        path = home.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    monkeypatch.delenv("PRA_STATE_DIR")
    monkeypatch.setenv("HOME", str(home.path / "nowhere"))
    offline = ("verify", "--folder", str(copies), "--public-key")
    found = home.document(*offline, home.key, "--head", home.head.short)
    assert (found["sound"], found["target"], found["places"]) == (True, "akig", ["copies"])
    (home.path / "trusted.txt").write_text(f"# the office's\n{home.key}\n")
    assert home.document(*offline, "trusted.txt")["sound"]
    assert home.document(*offline, home.key, "--head", f"4:{'0' * 64}", code=1)["items"][0]["sequence"] == 4
    stranger = "ed25519:" + "A" * 43 + "="
    assert "signed by an unknown key" in home.pra(*offline, stranger, code=1)
    assert "No record can be relied on." in home.pra(*offline, stranger, code=1)
    (copies / f"{2:010d}.json").unlink()
    assert "removed from the middle: the record is missing" in home.pra(*offline, home.key, code=1)
    assert sorted(path.name for path in home.path.iterdir()) == ["copies", "trusted.txt"]


KEY = "ed25519:" + "A" * 43 + "="
WRONG: dict[str, tuple[list[str], str]] = {
    "no-key": (
        ["verify", "--folder", "empty", "--public-key", "nonsense"],
        "is not of the form ed25519",
    ),
    "half-a-key": (["verify", "--public-key", "ed25519:AAAA"], "is not of the form ed25519"),
    "a-shared-secret": (["verify", "--public-key", "hmac-sha256:AAAA"], "cannot be listed as a trusted"),
    "a-file-without-keys": (["verify", "--public-key", "pra.toml"], "is not of the form ed25519"),
    "empty-folder": (["verify", "--folder", "empty", "--public-key", KEY], "no record of evidence in empty"),
    "no-such-folder": (["verify", "--folder", "none", "--public-key", KEY], "cannot read the folder none"),
    "a-head-without-digest": (["verify", "--head", "12"], "not an evidence head: '12'"),
    "a-head-too-short": (["verify", "--head", "12:0123"], "not an evidence head: '12:0123'"),
    "no-number": (["show", "first"], "invalid value"),
    "number-zero": (["show", "0"], "invalid value"),
    "no-such-target": (["list", "akik"], "no such target: 'akik'"),
    "no-subcommand": (["prove"], "no such command 'prove'"),
}


@pytest.mark.parametrize(("argv", "complaint"), WRONG.values(), ids=WRONG)
def test_wrong_usage_exits_64(home: Home, argv: list[str], complaint: str) -> None:
    (home.path / "empty").mkdir()
    said = home.pra(*argv, code=64)
    assert complaint in said
    assert "hint: " in said


def test_it_is_in_french_where_that_is_the_language(home: Home) -> None:
    home.speak("fr")
    assert "Intactes : les preuves de akig dans local, offsite." in home.pra("verify")
    assert "Signature du manifeste : valid" in home.pra("show", "1").replace(": ", " : ")


def test_a_change_of_keys_is_recorded(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    before = home.key
    assert run(["key", "rotate", "--json"]) == 0
    rotated = json.loads(capsys.readouterr().out)
    assert rotated["evidence"] == [{"target": "akig", "key": "akig/evidence/0000000004.json", "reason": None}]
    body = home.document("show", "4")["body"]
    assert (body["change"], body["public_key"]) == ("rotated", rotated["signing_public_key"])
    assert body["replaces"].startswith(f"{before} retired ")
    assert len(body["configuration_sha256"]) == 64
    assert home.document("verify")["sound"]
    # Offline, whoever holds both keys, the old one with its end, follows the chain across the rotation.
    both = ["--public-key", body["public_key"], "--public-key", body["replaces"]]
    assert home.document("verify", "--folder", str(home.file(1).parent), *both)["sound"]


def test_keys_that_cannot_be_recorded_say_why(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("local", "offsite"):
        shutil.rmtree(home.path / name)
    assert run(["key", "rotate"]) == 0
    assert "Not recorded as evidence: akig: " in capsys.readouterr().out
    (home.path / "pra.toml").unlink()
    assert run(["key", "rotate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["evidence"] == [
        {"target": "", "key": None, "reason": "no target is configured yet"}
    ]
