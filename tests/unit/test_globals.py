"""Cutting the SQL of roles, tablespaces and database settings to what a destination needs."""

from __future__ import annotations

from pra.engines.globals import database_statements, globals_of, prepare_globals, tablespaces

GLOBALS = """\
SET client_encoding = 'UTF8';
CREATE ROLE "bob";
ALTER ROLE "bob" WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:x';
CREATE ROLE "o""dd name";
ALTER ROLE "o""dd name" SET "work_mem" TO '9MB';
CREATE ROLE "postgres";
ALTER ROLE "postgres" WITH SUPERUSER;
GRANT "bob" TO "o""dd name" WITH INHERIT TRUE GRANTED BY "postgres";
GRANT "bob" TO "postgres" WITH INHERIT TRUE GRANTED BY "postgres";
CREATE TABLESPACE "fast" OWNER "bob" LOCATION '/mnt/it''s fast';
"""


def test_roles_that_exist_are_not_created_again_and_tablespaces_move_inside() -> None:
    text = prepare_globals(GLOBALS, existing=frozenset({"postgres"}), in_place_tablespaces=True)
    assert 'CREATE ROLE "postgres"' not in text
    assert 'ALTER ROLE "postgres" WITH SUPERUSER;' in text
    assert 'CREATE ROLE "o""dd name";' in text
    assert 'CREATE TABLESPACE "fast" OWNER "bob" LOCATION \'\';' in text


def test_only_the_missing_roles_are_touched() -> None:
    text = globals_of(GLOBALS, roles=frozenset({'o"dd name'}))
    assert 'CREATE ROLE "o""dd name";' in text
    assert 'GRANT "bob" TO "o""dd name"' in text
    assert '"postgres" WITH' not in text
    assert 'ROLE "bob"' not in text
    assert "TABLESPACE" not in text


def test_tablespaces_are_named() -> None:
    assert tablespaces(GLOBALS) == ["fast"]


def test_database_settings_follow_the_new_name() -> None:
    script = "\n".join(
        [
            """CREATE DATABASE "akig" WITH TEMPLATE = template0;""",
            """ALTER DATABASE akig OWNER TO bob;""",
            """ALTER DATABASE "akig" SET "work_mem" TO '5MB';""",
            """ALTER ROLE "bob" IN DATABASE "akig" SET "search_path" TO 'x';""",
            """COMMENT ON DATABASE "akig" IS 'ours';""",
            """GRANT CONNECT ON DATABASE "akig" TO "bob";""",
            """ALTER DATABASE "akig2" SET "work_mem" TO '6MB';""",
        ]
    )
    assert database_statements(script, "akig", "new") == [
        """ALTER DATABASE "new" SET "work_mem" TO '5MB';""",
        """ALTER ROLE "bob" IN DATABASE "new" SET "search_path" TO 'x';""",
        """COMMENT ON DATABASE "new" IS 'ours';""",
        """GRANT CONNECT ON DATABASE "new" TO "bob";""",
    ]
