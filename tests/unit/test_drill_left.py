"""What a killed drill left is removed whatever is written there, and no later drill is kept from running."""

from __future__ import annotations

from pathlib import Path

import pytest

from pra.drill.environment import PREFIX, clean_up
from tests.fix_metrics import make_past


@pytest.mark.parametrize(
    "said", ["", "{", "[]", '{"target": ["db"]}', '{"target": "db"}', '{"target": "db", "started_at": 1}']
)
def test_a_record_that_cannot_be_read_holds_nothing_up(tmp_path: Path, said: str) -> None:
    past = make_past(tmp_path / "past")
    folder = tmp_path / f"{PREFIX}left"
    folder.mkdir()
    (folder / "owner.lock").touch()
    (folder / "drill.json").write_text(said)
    assert clean_up(past.settings, tmp_path) == [folder]
    assert not folder.exists()
