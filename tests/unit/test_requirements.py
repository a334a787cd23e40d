"""What is absent skips a test by name, or fails it where everything is required."""

from __future__ import annotations

import pytest

from tests.requirements import require


def test_what_is_present_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRA_REQUIRE_ALL", "1")
    require("age", present=True)


def test_what_is_absent_skips_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRA_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="age is absent"):
        require("age", present=False)


def test_what_is_absent_fails_where_all_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRA_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="age is required"):
        require("age", present=False)
