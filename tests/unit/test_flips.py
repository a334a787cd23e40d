"""Where to look for the moment at which a condition stopped holding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pra.engines.flips import Sample, flips, last_end, positions


def samples(answers: str) -> list[Sample]:
    """``TTF``: yes, yes, no."""
    return [Sample(number, None, letter == "T") for number, letter in enumerate(answers)]


@pytest.mark.parametrize(
    ("first", "last", "steps", "expected"),
    [
        (0, 10, 5, (0, 2, 5, 7, 10)),
        (0, 10, 2, (0, 10)),
        (0, 3, 50, (0, 1, 2, 3)),
        (7, 7, 5, (7,)),
        (0, 1, 1, (0, 1)),
    ],
)
def test_steps_are_spread_evenly(first: int, last: int, steps: int, expected: tuple[int, ...]) -> None:
    assert positions(first, last, steps) == expected


@given(st.integers(0, 1 << 64), st.integers(1, 1 << 40), st.integers(2, 200))
def test_steps_begin_and_end_where_the_span_does(first: int, length: int, steps: int) -> None:
    found = positions(first, first + length, steps)
    assert (found[0], found[-1]) == (first, first + length)
    assert len(found) == min(steps, length + 1)
    assert list(found) == sorted(set(found))


@pytest.mark.parametrize(
    ("answers", "changes", "end"),
    [
        ("TTTFFF", 1, 2),
        ("TFTFTTFF", 5, 5),  # the last of three
        ("FFTTFF", 2, 3),
        ("TTTT", 0, None),  # it still holds
        ("FFFF", 0, None),  # it never did
        ("TFFT", 2, None),  # it holds again
        ("F", 0, None),
        ("", 0, None),
    ],
)
def test_every_flip_is_noticed_and_the_last_end_is_chosen(
    answers: str, changes: int, end: int | None
) -> None:
    asked = samples(answers)
    assert len(flips(asked)) == changes
    found = last_end(asked)
    assert (None if found is None else found.before.lsn) == end
    if found is not None:
        assert found.ends
        assert found.after.lsn == found.before.lsn + 1
