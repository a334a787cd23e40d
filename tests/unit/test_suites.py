"""Suites are read in preflight: each mistake is a usage error that names it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from checks.expectations import load_suite, load_suites, sqlalchemy_url
from checks.names import EXPECTATIONS
from pra.errors import UsageError
from pra.postgres.connect import Server
from pra.settings import Target

HEAD = "schema: pra-suite/1\nname: ours\ntables:\n"
RULE = "  users:\n    - says: there are users\n      expect_table_row_count_to_be_between: {min_value: 1}\n"


def target(*suites: str) -> Target:
    return Target(name="t", dsn="host=/nowhere", repositories=["local"], suites=list(suites))


def test_akigs_suite_covers_what_the_business_lives_on() -> None:
    (suite,) = load_suites(target("akig"))
    assert {"users", "properties", "contracts", "payments", "invoices"} <= {t.table for t in suite.tables}


def test_a_suite_is_found_by_path(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(HEAD + RULE)
    (suite,) = load_suites(target(str(path)))
    assert (suite.name, suite.tables[0].rules[0].says) == ("ours", "there are users")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("tables: [", "is not YAML", id="not YAML"),
        pytest.param("[]", "it has no 'schema: pra-suite/1'", id="not a mapping"),
        pytest.param("schema: pra-suite/2\n", "it has no 'schema: pra-suite/1'", id="another schema"),
        pytest.param(HEAD + RULE + "tabels: {}\n", "unknown key 'tabels'", id="unknown key"),
        pytest.param("schema: pra-suite/1\nname: No Good\n", "has no name of a-z", id="bad name"),
        pytest.param("schema: pra-suite/1\nname: ours\ntables: {}\n", "names no table", id="no table"),
        pytest.param(HEAD + "  users: []\n", "no list of rules for users", id="no rules"),
        pytest.param(HEAD + "  a.b.c:\n    - x\n", "neither table nor schema.table", id="bad table"),
        pytest.param(HEAD + RULE.replace("_count_", "_cuont_"), "Did you mean", id="unknown expectation"),
        pytest.param(HEAD + RULE + RULE[9:], "says the same sentence twice", id="said twice"),
        pytest.param(
            HEAD + "  users:\n    - says: x\n      no_rows: DELETE FROM users\n",
            "not a SELECT",
            id="no SELECT",
        ),
        pytest.param(
            HEAD + "  users:\n    - says: x\n", "not 'says' and one expectation", id="no expectation"
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_suite(path)
    assert says in str(caught.value)


def test_a_suite_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"no such suite: 'akgi'.*one of: akig"):
        load_suites(target("akgi"))


def test_two_suites_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="two suites are called 'akig'"):
        load_suites(target("akig", "akig"))


def test_the_list_of_expectations_is_the_installed_ones() -> None:
    spec = importlib.util.find_spec("great_expectations")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    core = Path(spec.submodule_search_locations[0]) / "expectations" / "core"
    assert {path.stem for path in core.glob("expect_*.py")} == EXPECTATIONS


def test_a_socket_directory_and_an_odd_password_survive_the_url() -> None:
    url = sqlalchemy_url(Server.parse("host='/run/a dir' user=neil dbname='my db'", "p@ss/wörd"))
    assert url.startswith(
        "postgresql+psycopg://neil:p%40ss%2Fw%C3%B6rd@localhost/my%20db?host=%2Frun%2Fa%20dir"
    )
    assert "default_transaction_read_only%3Don" in url
