"""The runbook's words: true for every kind of installation, whole in both languages, with harmless names."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.exceptions import TyperException

from deployments.cli.app import run
from deployments.documents.runbooks import runbooks
from pra.drill.scenarios import SCENARIOS
from pra.errors import NotFoundError
from pra.runbook import page, render, section
from pra.settings import Settings, load_settings
from pra.watch.rules import SECTIONS
from tests import documents
from tests.documents import ROOT

LANGUAGES = ("en", "fr")
DOCUMENTS = {"en": ROOT / "docs/RUNBOOK.md", "fr": ROOT / "docs/fr/RUNBOOK.md"}
KEY = "ed25519:UfZ+dYmwgc5rjKfRmNkdNXvnbhqh8ShFEKu5BIarFG0="

LOGICAL = """
[targets.legacy]
dsn = "postgresql://backup@127.0.0.1:5432/legacy"
repositories = ["local"]
"""
DIRECTORY = """
[targets.stock]
dsn = "host=db.example.com user=backup dbname=stock sslmode=verify-full"
engine = "physical"
repositories = ["local", "offsite"]
critical_tables = ["public.articles"]
"""
FAILOVER = f"""
[targets.akig]
dsn = "postgresql://backup@127.0.0.1:5432/akig"
engine = "physical"
rto = "10min"
repositories = ["offsite", "local"]
api = {{ url = "https://akig.example.com", endpoints = ["/api/health"] }}
[targets.akig.failover]
directory = "/srv/my server"
dsn = "host=/run/postgresql user=backup dbname=akig"
approvers = ["{KEY}"]
fence = "fence-old-server"
"""
PROMOTION = f"""
[targets.crm]
dsn = "postgresql://backup@127.0.0.1:5433/crm"
engine = "physical"
repositories = ["local"]
[targets.crm.failover]
standby = "postgresql://backup@127.0.0.1:5434/crm"
approvers = ["{KEY}"]
"""
REPOSITORIES = """
[repositories.local]
url = "file:///backups/with%20blank"
[repositories.offsite]
url = "s3://dr/pra"
endpoint = "https://s3.example.com"
object_lock = true
"""
INSTALLATIONS = {
    "dumps": LOGICAL,
    "base-backups": DIRECTORY,
    "failover": FAILOVER,
    "promotion": PROMOTION,
    "all": LOGICAL + DIRECTORY + FAILOVER + PROMOTION,
    "fleet": "".join(LOGICAL.replace("legacy", f"db-{n}") for n in range(30)),
}


def load(folder: Path, toml: str) -> Settings:
    file = folder / "pra.toml"
    file.write_text(toml + ("" if "[repositories." in toml else REPOSITORIES))
    return load_settings(file, {"PRA_STATE_DIR": str(folder / "state")})


@pytest.fixture(params=INSTALLATIONS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    return load(tmp_path, INSTALLATIONS[request.param])


def anchors(text: str) -> list[str]:
    return re.findall(r'^<a id="([^"]+)"></a>$', text, flags=re.M)


def scripts(text: str, folder: Path) -> list[documents.Block]:
    file = folder / "page.md"
    file.write_text(text)
    documents.source.cache_clear()
    return [
        documents.Block(ROOT / "page.md", block.line, block.language, block.text)
        for block in documents.blocks("sh", files=(file,))
    ]


# -- the copies under version control --------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_document_is_what_the_command_writes_for_the_example(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("PRA_", "PREFECT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PRA_STATE_DIR", str(tmp_path / "state"))
    file = tmp_path / "RUNBOOK.md"
    argv = ["--config", str(ROOT / "pra.toml.example"), "runbook", "--no-facts", "--language", language]
    assert run([*argv, "--output", str(file)]) == 0
    assert DOCUMENTS[language].read_text() == file.read_text(), "run: make docs"
    assert runbooks(ROOT)[str(DOCUMENTS[language].relative_to(ROOT))] == file.read_text()


# -- every kind of installation --------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_alerts_and_links_lead_to_a_section(settings: Settings, language: str) -> None:
    text = render(settings, None, language)
    there = anchors(text)
    assert len(there) == len(set(there))
    assert set(SECTIONS.values()) <= set(there)
    assert {scenario.name for scenario in SCENARIOS} <= set(there)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 30
    assert {link for link in links if link.removeprefix("#") not in there} == set()


def test_every_command_can_be_typed(settings: Settings, tmp_path: Path) -> None:
    blocks = scripts(render(settings, None, "en"), tmp_path)
    typed = [words[1:] for block in blocks for words in documents.commands(block.text) if words[0] == "pra"]
    assert len(typed) > 50
    wrong: list[str] = []
    for argv in typed:
        try:
            documents.parse(argv)
        except TyperException as error:
            wrong.append(f"pra {' '.join(argv)}: {error.format_message()}")
    assert wrong == []


def test_a_command_is_for_a_target_that_can_do_it(settings: Settings, tmp_path: Path) -> None:
    """What the physical engine alone can do names a physical target, where there is one."""
    blocks = scripts(render(settings, None, "en"), tmp_path)
    typed = [words[1:] for block in blocks for words in documents.commands(block.text) if words[0] == "pra"]
    engines = {target.name: target.engine for target in settings.targets.values()}
    physical = {name for name, engine in engines.items() if engine == "physical"}
    failover = {name for name, target in settings.targets.items() if target.failover}
    for argv in typed:
        named = next((word for word in argv if word in engines), None)
        if argv[0] in ("windows", "locate", "drill", "wal") and physical:
            assert named in physical, argv
        if argv[0] == "failover" and failover:
            assert named in failover, argv
        if {"--to", "--disaster-at", "--full"} & set(argv) and (physical or argv[0] == "restore"):
            assert named in physical, argv
        if argv[0] == "restore" and named not in physical:
            assert not {"--to", "--exclusive", "--disaster-at"} & set(argv), argv


def test_both_languages_say_the_same(settings: Settings, tmp_path: Path) -> None:
    """The same sections, tables and commands, in the same order."""

    def skeleton(language: str) -> tuple[list[str], ...]:
        text = render(settings, None, language)
        commands = [
            " ".join(words) for block in scripts(text, tmp_path) for words in documents.commands(block.text)
        ]
        headings = [line.split(" ", 1)[0] for line in text.splitlines() if re.match(r"#+ ", line)]
        cells = [
            str(len(re.findall(r"(?<!\\)\|", line)))
            for line in text.splitlines()
            if line.strip().startswith("|")
        ]
        links = re.findall(r"\]\(([^)]+)\)", text)
        return commands, headings, cells, anchors(text), links, re.findall(r"^ *```(\w*)", text, flags=re.M)

    assert skeleton("fr") == skeleton("en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_word_of_the_template_is_left_over(settings: Settings, language: str) -> None:
    text = render(settings, None, language)
    assert not re.search(r"\{\{|\{%|%\}|\}\}|\bNone\b|&#\d+;|Markup\(", text)
    assert "\n\n\n" not in text
    assert text.endswith("\n")
    fences = re.findall(r"^( *)```", text, flags=re.M)
    assert len(fences) % 2 == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_section_is_whole_and_alone(settings: Settings, language: str) -> None:
    text = render(settings, None, language)
    alone = {name: section(text, name) for name in anchors(text)}
    for name, part in alone.items():
        assert part in text
        depth = len(part) - len(part.lstrip("#"))
        unfenced = re.sub(r"^( *)```.*?^\1```$", "", part, flags=re.M | re.S)
        assert len(re.findall(rf"^#{{1,{depth}}} ", unfenced, flags=re.M)) == 1, name
        assert part.count("```") % 2 == 0, name
        assert not part.rstrip().endswith("</a>")
    assert "pra key rotate" in alone["key-lost"]
    assert "pra key rotate" not in alone["clock-wrong"]
    assert "manifest.json" in alone["clock-wrong"]
    assert alone["status"] in alone["alerts"]


def test_a_section_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as refused:
        section(render(load(tmp_path, LOGICAL), None, "en"), "databse-down")
    assert refused.value.hint == "Did you mean database-down?"


def test_french_is_french_and_another_language_reads_english(tmp_path: Path) -> None:
    settings = load(tmp_path, FAILOVER)
    assert "## Les cinq premières minutes" in render(settings, None, "fr")
    assert "## The first five minutes" in render(settings, None, "de")
    french = re.sub(r"```.*?```|`[^`]*`|\([^)]*\)", "", render(settings, None, "fr"), flags=re.S)
    assert not re.findall(r"\b(?:the|and|with|what|whoever|nobody)\b", french)
    assert not re.findall(r"\w[;:!?](?=\s)", french), "French has a space before these"


# -- who is called, and when -----------------------------------------------------------------------


def test_times_and_people_are_those_of_the_settings(tmp_path: Path) -> None:
    people = """
    [alerts.p1]
    tiers = 2
    ack_within = "7min"
    resolve_within = "45min"
    [runbook]
    repair_for = "12min"
    authority = "Autorité de la Guinée"
    [[runbook.contacts]]
    name = "Awa"
    phone = "+224 1"
    tier = 2
    duties = ["decides", "approves"]
    [[runbook.contacts]]
    name = "Binta"
    email = "binta@example.com"
    duties = ["data-protection"]
    hours = "08:00-18:00"
    """
    text = render(load(tmp_path, LOGICAL + people), None, "en")
    (row,) = [line for line in text.splitlines() if line.startswith("| **P1**")]
    assert row.endswith("| 7 min | tier 1: at once; tier 2: 7 min | 45 min |")
    assert "| tier 2; decides, approves | Awa | +224 1 | – | always |" in text
    assert "| data protection | Binta | – | `binta@example.com` | 08:00-18:00 |" in text
    assert "has not started after 12 min" in text
    assert "(Autorité de la Guinée)" in text
    assert "**Decides** on a failover, on loss of data, on telling the public: Awa, +224 1." in text
    assert "**Hosting**, for machines, disks and network: nobody is named yet" in text


def test_without_people_it_says_so(tmp_path: Path) -> None:
    assert "**Nobody is named.**" in render(load(tmp_path, LOGICAL), None, "en")
    assert "**Personne n'est désigné.**" in render(load(tmp_path, LOGICAL), None, "fr")


@pytest.mark.parametrize("name", ["near", "stock"])
def test_a_target_without_a_copy_elsewhere_is_warned_of(tmp_path: Path, name: str) -> None:
    warned = "`near` has no repository elsewhere (S3)"
    text = render(
        load(tmp_path, LOGICAL.replace("legacy", "near") if name == "near" else DIRECTORY), None, "en"
    )
    assert (warned in text) is (name == "near")
    assert "`stock` has no repository elsewhere" not in text


def test_what_failover_does_by_itself_is_in_its_table(tmp_path: Path) -> None:
    text = render(load(tmp_path, FAILOVER + PROMOTION), None, "en")
    assert "| `akig` | recovered into a new directory | by command | by hand | you start it | 1 |" in text
    assert "| `crm` | a standby is promoted | you type that it is off | by hand | you start it | 1 |" in text
    assert "pra restore akig --into /srv/postgresql/akig-restored" in text
    assert "/srv/my server" not in text, "a failover needs it empty"
    assert "findmnt --target '/backups/with blank'" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_pasted_whole_neither_drops_nor_commits(
    settings: Settings, language: str, tmp_path: Path
) -> None:
    """A partition that was not moved goes with its schema under CASCADE; a COMMIT waits for no look."""
    file = tmp_path / "sql.md"
    file.write_text(render(settings, None, language))
    documents.source.cache_clear()
    typed = [re.sub("--.*", "", block.text) for block in documents.blocks("sql", files=(file,))]
    assert any("DROP SCHEMA" in text for text in typed)
    assert not [text for text in typed if re.search("CASCADE|COMMIT", text)]


def test_a_table_goes_back_to_the_schema_it_is_of(tmp_path: Path) -> None:
    text = render(load(tmp_path, DIRECTORY.replace("public.articles", "sales.articles")), None, "en")
    assert "restored_20261122t094107z.articles SET SCHEMA sales;" in text
    assert "payments SET SCHEMA public;" in DOCUMENTS["fr"].read_text()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_key_lands_elsewhere_where_the_shell_does_not_know_the_state(
    settings: Settings, language: str, tmp_path: Path
) -> None:
    """``PRA_STATE_DIR`` often stands in ``.env`` alone: ``/keys`` is nobody's folder."""
    text = render(settings, None, language)
    told = [block.text for block in scripts(text, tmp_path) if "PRA_STATE_DIR" in block.text]
    assert len(told) == 3
    harmless = "pra() { :; }; make() { :; }; install() { echo $*; }; mv() { echo $*; }"
    for script in told:
        done = subprocess.run(
            ["bash", "-c", f"{harmless}\n{script}"],
            env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert "/keys" not in done.stdout
        assert "PRA_STATE_DIR" in done.stderr


@pytest.mark.parametrize("language", LANGUAGES)
def test_after_an_intrusion_nobody_keeps_a_password_and_nobody_is_early(
    settings: Settings, language: str
) -> None:
    """The statement leaves out who types it, and a failover does not wait for it."""
    part = section(render(settings, None, language), "intrusion")
    assert "<> current_user \\gexec\n" in part
    assert re.findall(r"^ *\\password ?(.*)$", part, flags=re.M) == ["backup", ""]
    (shut,) = re.findall(r"^3\. .*?(?::\n\n)", part, flags=re.M | re.S)
    assert ("`pra failover`" in shut) is any(target.failover for target in settings.targets.values())
    assert "step 4" in shut or "l'étape 4" in shut


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_would_not_help_is_not_advised(settings: Settings, language: str) -> None:
    """``pra gc`` clears repositories, and nothing of this machine."""
    text = render(settings, None, language)
    (advice,) = [
        line for line in section(text, "disk-full").splitlines() if re.match(r"- .*(state|état)", line)
    ]
    assert "pra gc" not in advice
    assert "/usr/lib/postgresql/18/bin" in section(text, "into-service"), "on Debian in no PATH"


# -- names from outside ----------------------------------------------------------------------------

EVIL = '<script>alert("1")</script> | `x` [a](javascript:1) **b** <img src=x>'


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.hrefs += [value or "" for name, value in attrs if name in ("href", "src")]


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    toml = f"""
    [runbook]
    organisation = '{EVIL}'
    authority = '{EVIL}'
    [[runbook.contacts]]
    name = '{EVIL}'
    role = "```"
    phone = "1 | 2"
    tier = 1
    duties = ["decides", "data-protection"]
    """
    hostile = FAILOVER.replace("dbname=akig", "dbname='`a`|$(b)'").replace(
        "postgresql://backup@127.0.0.1:5432/akig", "host=127.0.0.1 dbname='`a`|$(b)'"
    )
    text = render(load(tmp_path, hostile + toml), None, "en")
    (row,) = [line for line in text.splitlines() if line.startswith("| tier 1")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    assert "psql 'host=127.0.0.1 dbname='\"'\"'`a`|$(b)'\"'\"'' -c" in text
    assert "`127.0.0.1:5432/" not in text, "a backtick would end the code"
    found = Tags()
    found.feed(page(text, "en"))
    assert not found.seen & {"script", "img"}
    assert all(link.startswith("#") for link in found.hrefs)


def test_the_page_needs_nothing_else(settings: Settings) -> None:
    text = render(settings, None, "fr")
    html = page(text, "fr")
    found = Tags()
    found.feed(html)
    assert '<html lang="fr">' in html
    assert not re.findall(
        r"\w [;:!?](?=\s)", re.sub(r"<pre>.*?</pre>|<title>.*?</title>", "", html, flags=re.S)
    )
    assert '<pre><code class="language-sh">pra ack --list                  # ce qui est ouvert\n' in html
    assert "<title>Runbook : la reprise de PostgreSQL" in html
    assert {"table", "pre", "h3"} <= found.seen
    assert not found.seen & {"link", "script", "img"}
    assert all(link.removeprefix("#") in anchors(text) for link in found.hrefs)
    assert "[ ]" not in html
    assert html.count('<li class="box">') > 15
    assert "|---" not in html
    assert "```" not in html


# -- bad input -------------------------------------------------------------------------------------

CONTACT = '[[runbook.contacts]]\nname = "Awa"\nphone = "1"\ntier = 1\n'
WRONG = {
    "no way to reach": (CONTACT.replace('phone = "1"\n', ""), "neither phone nor email", "reached"),
    "never called": (CONTACT.replace("tier = 1\n", ""), "neither tier nor duties", "when this person"),
    "a secret address": (
        CONTACT.replace('"1"', '"tgram://token/chat"'),
        "is an address",
        "PRA_ALERTS__TIER1",
    ),
    "two lines": (CONTACT.replace('"Awa"', '"Awa\\n# x"'), "not one line", "one line"),
    "empty": (CONTACT.replace('"Awa"', '" "'), "not one line", "one line"),
    "no such tier": (CONTACT.replace("tier = 1", "tier = 4"), "runbook.contacts[0].tier", "pra.toml.example"),
    "no such duty": (CONTACT + 'duties = ["decide"]\n', "runbook.contacts[0].duties[0]", "pra.toml.example"),
    "misspelt": (CONTACT.replace("phone", "fone"), "unknown key runbook.contacts[0].fone", "phone"),
    "no name": (CONTACT.replace('name = "Awa"\n', ""), "runbook.contacts[0].name is missing", "Set it"),
    "no duration": ('[runbook]\nrepair_for = "soon"\n', "runbook.repair_for", "30min"),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("PRA_", "PREFECT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PRA_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "pra.toml").write_text(LOGICAL + REPOSITORIES)
    return tmp_path


@pytest.mark.parametrize(("toml", "complaint", "hint"), WRONG.values(), ids=WRONG)
def test_a_contact_that_helps_nobody_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str], toml: str, complaint: str, hint: str
) -> None:
    tomllib.loads(toml)
    (home / "pra.toml").write_text(LOGICAL + REPOSITORIES + toml)
    assert run(["runbook", "--no-facts", "--output", "runbook.md"]) == 64
    error, advice = capsys.readouterr().err.strip().splitlines()
    assert complaint in error
    assert hint in advice
    assert "token" not in error + advice
    assert not (home / "runbook.md").exists()


def test_wrong_usage_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runbook", "--offline", "--no-facts"]) == 64
    assert "Give one of the two." in capsys.readouterr().err
    assert run(["runbook", "--language", "de"]) == 64
    assert "hint: See: pra runbook --help" in capsys.readouterr().err
    (home / "file").touch()
    assert run(["runbook", "--no-facts", "--output", "file/runbook.md"]) == 1
    assert "was not written" in capsys.readouterr().err
    (home / "pra.toml").write_text(REPOSITORIES)
    assert run(["runbook", "--no-facts"]) == 64
    assert "no target is configured" in capsys.readouterr().err


def test_no_secret_is_in_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRA_ALERTS__TIER1", "mailtos://user:hunter2@example.com")
    monkeypatch.setenv("PRA_ALERTS__SLACK_TOKEN", "xoxb-hunter2")
    monkeypatch.setenv("PRA_TARGETS__LEGACY__PASSWORD", "hunter2")
    monkeypatch.setenv("PRA_REPOSITORIES__OFFSITE__SECRET_ACCESS_KEY", "hunter2")
    assert run(["runbook", "--no-facts", "--json"]) == 0
    assert "hunter2" not in capsys.readouterr().out


def test_the_machine_without_a_network_gets_its_runbook(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a database nor Prefect nor a repository is asked."""

    def refuse(*_args: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert run(["runbook", "--offline"]) == 0
    written = capsys.readouterr()
    assert written.out.startswith("# Runbook: recovering PostgreSQL\n")
    assert "warning: legacy:" in written.err
