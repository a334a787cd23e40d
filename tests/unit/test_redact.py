"""Nothing secret and no row's value gets out."""

from __future__ import annotations

import pytest

from pra.redact import redact


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("connecting to postgresql://backup:s3cret@host/db", "s3cret"),
        ("host=x password=s3cret dbname=y", "s3cret"),
        ("host=x password='s3 cret' dbname=y", "s3 cret"),
        ("ALTER ROLE bob PASSWORD 's3cret'", "s3cret"),
        ("key AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQ", "QQQQ"),
        ("token xoxb-123-456-abc", "123-456"),
        ('ERROR:  invalid input syntax for type integer: "4711"', "4711"),
        ("ERROR:  duplicate key\nDETAIL:  Key (email)=(eve@example.com) already exists.", "eve@example.com"),
        ('CONTEXT:  COPY users, line 3: "3\teve"', "eve"),
        ("pg_restore: error: x\nCommand was: INSERT INTO t VALUES (1)\n\t'more eve'", "eve"),
    ],
)
def test_secrets_and_values_are_removed(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact(text)


def test_given_secrets_are_masked_wherever_they_stand() -> None:
    assert redact("a hunter22 b", ["hunter22"]) == "a *** b"


def test_what_helps_is_kept() -> None:
    text = 'pg_dump: error: permission denied for table "users"'
    assert redact(text) == text
