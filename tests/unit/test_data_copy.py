"""A copy of a stopped server shares nothing with it, also before its first start."""

from __future__ import annotations

from pathlib import Path

import pytest

from pra.postgres.data_copy import copy_data, remove_copy
from pra.postgres.tablespace_map import read_map
from pra.proc import Scope


@pytest.mark.parametrize("links", [False, True], ids=["never started", "links and a map"])
def test_tablespaces_that_only_the_map_names_are_copied(tmp_path: Path, *, links: bool) -> None:
    data, copy, odd = tmp_path / "data", tmp_path / "copy", tmp_path / "odd \\ and\nlong \r"
    (data / "pg_tblspc" / "17").mkdir(parents=True)
    odd.mkdir()
    (odd / "file").write_text("here")
    escaped = str(odd).replace("\\", "\\\\").replace("\n", "\\\n").replace("\r", "\\\r")
    (data / "tablespace_map").write_bytes(f"16385 {escaped}\n17 pg_tblspc/17\n".encode())
    if links:
        (data / "pg_tblspc" / "16385").symlink_to(odd)
    before = (data / "tablespace_map").read_bytes()

    with Scope() as scope:
        copy_data(scope, data, copy)
    place = tmp_path / "copy-tablespaces" / "16385"
    assert (place / "file").read_text() == "here"
    assert read_map(copy / "tablespace_map") == {16385: place, 17: Path("pg_tblspc/17")}
    assert not links or (copy / "pg_tblspc" / "16385").readlink() == place
    assert (data / "tablespace_map").read_bytes() == before
    remove_copy(copy)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["data", odd.name])


def test_a_started_server_has_links_and_no_map(tmp_path: Path) -> None:
    data, copy, place = tmp_path / "data", tmp_path / "copy", tmp_path / "place"
    (data / "pg_tblspc").mkdir(parents=True)
    place.mkdir()
    (data / "pg_tblspc" / "16385").symlink_to(place)
    with Scope() as scope:
        copy_data(scope, data, copy)
    assert (copy / "pg_tblspc" / "16385").readlink() == tmp_path / "copy-tablespaces" / "16385"
    assert not (copy / "tablespace_map").exists()
