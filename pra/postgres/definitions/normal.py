"""One spelling for expressions that PostgreSQL spells in two ways.

``status IN ('a', 'b')`` on a varchar column is first shown as ``(ARRAY['a'::character varying, …])::text[]``;
dumped and restored, the same expression reads ``ARRAY[('a'::character varying)::text, …]``: the parser pushes
the cast of an array constructor into its elements. Both are brought to the second form.
"""

from __future__ import annotations

import re

_CAST = re.compile(r"\)::(?P<type>(?:[a-z_][a-z0-9_ ]*|\"(?:[^\"]|\"\")+\"|\.)+(?:\(\d+(?:,\d+)?\))?)\[\]")
_OPENING = "(ARRAY["


def normal(expression: str) -> str:
    """The expression with every cast of an array constructor pushed into its elements."""
    start = expression.rfind(_OPENING)
    while start >= 0:
        body = start + len(_OPENING)
        end = _closing(expression, body)
        cast = _CAST.match(expression, end + 1) if end >= 0 else None
        if cast is not None:
            elements = _split(expression[body:end])
            pushed = ", ".join(f"({element})::{cast['type']}" for element in elements)
            expression = f"{expression[:start]}ARRAY[{pushed}]{expression[cast.end() :]}"
        start = expression.rfind(_OPENING, 0, start) if start > 0 else -1
    return expression


def _closing(text: str, start: int) -> int:
    """The place of the bracket that closes the one before ``start``; -1 if none does."""
    depth = 0
    for place, character in _outside_quotes(text, start):
        if character in "([":
            depth += 1
        elif character in ")]":
            if depth == 0:
                return place
            depth -= 1
    return -1


def _split(text: str) -> list[str]:
    """Cut at the commas that are in no bracket and no quotes."""
    pieces, depth, last = [], 0, 0
    for place, character in _outside_quotes(text, 0):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            pieces.append(text[last:place].strip())
            last = place + 1
    return [*pieces, text[last:].strip()]


def _outside_quotes(text: str, start: int) -> list[tuple[int, str]]:
    """Characters from ``start`` on that are in no string and no quoted name."""
    found, quote, place = [], "", start
    while place < len(text):
        character = text[place]
        if quote:
            if character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        else:
            found.append((place, character))
        place += 1
    return found
