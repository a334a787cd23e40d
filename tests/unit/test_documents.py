"""What a reader copies from the documents works: commands, settings, SQL's neighbours, links, anchors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.exceptions import TyperException

from pra.settings import Settings, load_settings
from pra.settings_source import NOT_SETTINGS, _annotation
from pra.watch.rules import SECTIONS
from tests import documents
from tests.documents import BESIDE, DECISIONS, DOCUMENTS, ENGLISH, FRENCH, ROOT, Block
from tests.fix_cluster import embedded_bindir

SHELL = ("", "sh")
LANGUAGES = {*SHELL, "text", "toml", "sql", "json", "yaml", "ini", "markdown", "dockerfile"}
# What a machine has, or what the text says must be there.
PROGRAMS = frozenset(
    re.findall(
        r"\S+",
        """
        age age-keygen apt-get aws cat cd chmod chown cp createdb crontab curl df docker du echo export
        findmnt git grep install journalctl kill kubectl last less ls mkdir mount mv openssl pg_amcheck
        pg_combinebackup pg_ctl pg_isready pg_restore ping postgres ps psql python3 rclone rsync scp set
        sha256sum ss ssh sudo systemctl systemd-analyze tail tar tee timedatectl touch truncate umount
        useradd vacuumdb zstd
        """,
    )
)
TRANSLATED = ("README.md", "INDEX.md", "RUNBOOK.md", "METRICS.md")


def by_place(block: Block) -> str:
    return block.where


# -- blocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", documents.blocks(), ids=by_place)
def test_a_block_says_what_it_is(block: Block) -> None:
    assert block.language in LANGUAGES, "name a language that a test knows how to check"
    assert block.text.strip()


@pytest.mark.parametrize("block", documents.blocks(*SHELL), ids=by_place)
def test_every_command_of_a_block_exists(block: Block) -> None:
    found = list(documents.commands(block.text))
    assert found, "a shell block without a command: call it text"
    assert [complaint for words in found if (complaint := wrong_with(words))] == []


def test_programs_of_postgresql_know_their_options() -> None:
    """They have much in common, and not all: one calls ``--dbname`` what another is given without a name."""
    given: dict[str, set[str]] = {}
    for block in documents.blocks(*SHELL):
        for words in documents.commands(block.text):
            given.setdefault(words[0], set()).update(word for word in words if re.match(r"--\w", word))
    folder = embedded_bindir()
    known = {name: options for name, options in given.items() if options and (folder / name).exists()}
    assert {"pg_amcheck", "createdb", "pg_restore"} <= set(known)
    for name, options in known.items():
        told = subprocess.run([folder / name, "--help"], capture_output=True, text=True, check=True).stdout
        assert {option.split("=")[0] for option in options} <= set(re.findall(r"--[\w-]+", told)), name


def test_no_backup_is_taken_before_the_new_recipient_is_written_down() -> None:
    """A block is typed to its end: what stood behind ``pra key rotate`` was encrypted for the old key."""
    for block in documents.blocks(*SHELL):
        typed = [" ".join(words) for words in documents.commands(block.text)]
        for number, line in enumerate(typed):
            if re.search(r"\bpra key rotate\b", line):
                assert not [late for late in typed[number:] if "pra backup" in late], block.where


def test_every_block_is_a_script_that_a_shell_can_read() -> None:
    scripts = documents.blocks(*SHELL)
    text = "\n".join(f": {block.where}\nunused_{n}() {{\n{block.text}\n}}" for n, block in enumerate(scripts))
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def wrong_with(words: list[str]) -> str:
    """Why these words cannot be typed; empty: they can."""
    program, arguments = words[0], words[1:]
    if program in ("pra", ".venv/bin/pra"):
        return wrong_with_pra(arguments)
    if program == "make":
        return wrong_with_make(arguments)
    if program == "prefect" or program.startswith(".venv/bin/"):
        there = Path(sys.executable).with_name(program.removeprefix(".venv/bin/")).exists()
        return "" if there else f"{program} is not installed"
    if program.startswith("./") or program.endswith(".sh"):
        return "" if (ROOT / program).exists() else f"{program} does not exist"
    return "" if program in PROGRAMS else f"{program}: what is it?"


def wrong_with_pra(arguments: list[str]) -> str:
    try:
        documents.parse(arguments)
    except TyperException as error:
        return f"pra {' '.join(arguments)}: {error.format_message()}"
    except typer.Exit:
        return ""
    return ""


def wrong_with_make(arguments: list[str]) -> str:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))
    variables = set(re.findall(r"\$\((?:if \$\()?([A-Z]+)", makefile))
    for number, word in enumerate(arguments):
        name, equals, _ = word.partition("=")
        if "-C" in (word, *arguments[number - 1 : number]):  # in that folder
            continue
        if name not in (variables if equals else targets):
            return f"make {word}: not in the Makefile"
    return ""


@pytest.mark.all
def test_prefect_knows_every_command_of_its_own() -> None:
    """As it says by itself: its help for these words is no error."""
    told = {
        " ".join(words[1:])
        for block in documents.blocks(*SHELL)
        for words in documents.commands(block.text)
        if words[0].removeprefix(".venv/bin/") == "prefect"
    }
    assert told
    for words in told:
        program = Path(sys.executable).with_name("prefect")
        done = subprocess.run(
            [program, *words.split(), "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"prefect {words}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("block", documents.blocks("toml"), ids=by_place)
def test_settings_are_accepted(block: Block, tmp_path: Path) -> None:
    """Laid over a configuration that works."""
    file = tmp_path / "pra.toml"
    file.write_text(_toml(_over(BASE, tomllib.loads(block.text))))
    settings = load_settings(file, {"PRA_STATE_DIR": str(tmp_path / "state")})
    assert settings.targets


BASE: dict[str, Any] = {
    "targets": {"akig": {"dsn": "postgresql://backup@127.0.0.1/akig", "repositories": ["local"]}},
    "repositories": {"local": {"url": "file:///backups"}, "offsite": {"url": "s3://akig-dr/pra"}},
}


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    return {**below} | {
        key: _over(below.get(key, {}), value) if isinstance(value, dict) else value
        for key, value in above.items()
    }


def _toml(tables: Mapping[str, Any], path: str = "") -> str:
    """Enough of TOML for settings: plain values and lists are written as JSON writes them."""
    plain = {k: v for k, v in tables.items() if not isinstance(v, dict)}
    lines = [f"{key} = {_inline(value)}" for key, value in plain.items()]
    head = [f"[{path}]"] if path and (plain or not tables) else []
    inner = [_toml(v, f"{path}.{k}".lstrip(".")) for k, v in tables.items() if isinstance(v, dict)]
    return "\n".join([*head, *lines, *inner])


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize("block", documents.blocks("json"), ids=by_place)
def test_json_can_be_read(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("block", documents.blocks("yaml"), ids=by_place)
def test_yaml_can_be_read(block: Block) -> None:
    assert yaml.safe_load(block.text)


# -- what stands between the blocks --------------------------------------------------------------


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_command_in_a_sentence_exists(file: Path) -> None:
    known = documents.leaves()
    wrong: list[str] = []
    for span in documents.spans(file):
        words = span.removeprefix(".venv/bin/").split()
        if words[0] == "make" and re.fullmatch(r"make [a-z-]+( [A-Z]+=\S+)*", span):
            wrong += filter(None, [wrong_with_make(words[1:])])
        if words[0] != "pra" or words[1:2] in ([], ["VERB"], ["--help"], ["…"]):
            continue
        if words[1].startswith("--"):
            wrong += [span] if words[1] not in documents.root_options() else []
            continue
        names = [name for name in known if (" ".join(words[1:]) + " ").startswith(f"{name} ")]
        group = [name for name in known if name.split()[0] == words[1]]
        if (not names and not (len(words) == 2 or "|" in span)) or not group:
            wrong.append(span)
            continue
        options = {option for name in (names or group) for option in known[name]}
        wrong += [
            f"{span}: {each}" for each in re.findall(r"(?<![\w-])--[a-z-]+", span) if each not in options
        ]
    assert wrong == []


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_door_that_is_named_opens(file: Path) -> None:
    """``quickstart.sh daily``, and each of several actions behind it."""
    for span in documents.spans(file):
        if match := re.fullmatch(r"(?:\./)?(\w+\.sh)(?: ([a-z|-]+))?", span):
            script = (ROOT / match[1]).read_text()
            for action in (match[2] or "").split("|"):
                assert not action or re.search(rf"^{action}\)$", script, flags=re.M), span


def test_every_variable_that_is_named_exists() -> None:
    """``PRA_TARGETS__NAME__PASSWORD`` is a setting."""
    files = (*DOCUMENTS, ROOT / "pra.toml.example", ROOT / ".env.example")
    wrong: list[str] = []
    for file in files:
        for name in re.findall(r"\bPRA_[A-Z0-9_]+(?!\w|…|_…)", file.read_text()):
            if name in NOT_SETTINGS or name == "PRA_RESTORED_DSN" or name.endswith("__"):
                continue
            path = [part.lower() for part in name.removeprefix("PRA_").split("__")]
            if _annotation(Settings, path) is None:
                wrong.append(f"{file.name}: {name}")
    assert wrong == []


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_that_is_named_exists(file: Path) -> None:
    """A path in backticks that begins with one of our folders."""
    named = [
        span
        for span in documents.spans(file)
        if re.fullmatch(r"(pra|checks|tasks|flows|deployments|tests|docs|make)/[\w./-]*", span)
    ]
    assert [span for span in named if not (ROOT / span).exists()] == []


# -- links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file", [*DOCUMENTS, *BESIDE, *DECISIONS], ids=lambda file: str(file.relative_to(ROOT))
)
def test_every_link_leads_somewhere(file: Path) -> None:
    dead: list[str] = []
    for link in documents.links(file):
        if re.match(r"https?://[\w.-]+\.\w+(/|$)", link):
            continue
        path, _, anchor = link.partition("#")
        there = (file.parent / path).resolve() if path else file
        if not there.exists() or (anchor and anchor not in documents.anchors(there)):
            dead.append(link)
    assert dead == []


def test_every_document_is_reached_from_the_index() -> None:
    index = ROOT / "docs/INDEX.md"
    reached = {(index.parent / link.partition("#")[0]).resolve() for link in documents.links(index)}
    assert [file.name for file in DOCUMENTS if file.resolve() not in reached] == []


@pytest.mark.parametrize("file", ["docs/RUNBOOK.md", "docs/fr/RUNBOOK.md"])
def test_every_section_that_an_alert_names_is_in_the_runbook(file: str) -> None:
    assert set(SECTIONS.values()) <= set(documents.anchors(ROOT / file))


def test_what_the_alert_rules_advise_can_be_typed() -> None:
    rules = yaml.safe_load((ROOT / "docs/prometheus/alerts.yaml").read_text())
    texts = [
        text for group in rules["groups"] for rule in group["rules"] for text in rule["annotations"].values()
    ]
    advised = [match for text in texts for match in re.findall(r": (pra [^\"]+)$", text)]
    assert advised
    for command in advised:
        assert wrong_with_pra(re.sub(r"\{\{.*?\}\}", "name", command).split()[1:]) == ""


# -- languages -----------------------------------------------------------------------------------


def pair(name: str) -> tuple[Path, Path]:
    return ROOT / name if name == "README.md" else ROOT / "docs" / name, ROOT / "docs/fr" / name


@pytest.mark.parametrize("name", TRANSLATED)
def test_french_and_english_have_the_same_sections(name: str) -> None:
    english, french = pair(name)
    assert [depth for depth, _ in documents.headings(french)] == [d for d, _ in documents.headings(english)]
    assert len(documents.anchors(french)) == len(documents.anchors(english))


@pytest.mark.parametrize("name", TRANSLATED)
def test_french_and_english_have_the_same_commands(name: str) -> None:
    english, french = (
        [list(documents.commands(block.text)) for block in documents.blocks(*SHELL, files=(file,))]
        for file in pair(name)
    )
    assert french == english


@pytest.mark.parametrize("name", TRANSLATED)
def test_french_and_english_have_the_same_tables(name: str) -> None:
    english, french = (
        [len(documents.rows(file, words)) for _, words in documents.headings(file)] for file in pair(name)
    )
    assert french == english


def test_there_is_no_french_page_without_an_english_one() -> None:
    assert {file.name for file in FRENCH} == set(TRANSLATED)
    assert {file.name for file in FRENCH} <= {file.name for file in ENGLISH}
