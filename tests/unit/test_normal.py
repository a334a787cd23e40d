"""Expressions that PostgreSQL spells in two ways are brought to one."""

from __future__ import annotations

import pytest

from pra.postgres.definitions.normal import normal


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "CHECK (((status)::text = ANY ((ARRAY['new'::character varying, 'l''ancien, (vieux]'::character "
            "varying])::text[])))",
            "CHECK (((status)::text = ANY (ARRAY[('new'::character varying)::text, ('l''ancien, (vieux]'::"
            "character varying)::text])))",
        ),
        ("(ARRAY[f(a, b), c])::numeric(10,2)[]", "ARRAY[(f(a, b))::numeric(10,2), (c)::numeric(10,2)]"),
        ('(ARRAY["a,]b"])::public."My Type"[]', 'ARRAY[("a,]b")::public."My Type"]'),
        ("(ARRAY[(ARRAY[a])::text[]])::text[]", "ARRAY[(ARRAY[(a)::text])::text]"),
    ],
)
def test_casts_of_arrays_move_to_their_elements(before: str, after: str) -> None:
    assert normal(before) == after
    assert normal(after) == after


@pytest.mark.parametrize(
    "text", ["", "ARRAY[1, 2]", "(ARRAY[1, 2", "(ARRAY['x'])", "a = '(ARRAY[1])::int'", "[)]("]
)
def test_everything_else_stays(text: str) -> None:
    assert normal(text) == text
