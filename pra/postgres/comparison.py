"""What differs between two fingerprints. Pure; never a row's value."""

from __future__ import annotations

from collections.abc import Sequence

from pra.postgres.facts import Difference, Fingerprint, TableDigest


def incomparable(expected: Fingerprint, observed: Fingerprint) -> str:
    """Why digests of these two may rightly differ, or an empty string."""
    if expected.major != observed.major:
        return f"taken on PostgreSQL {expected.major}, restored on {observed.major}"
    return ""


def compare(expected: Fingerprint, observed: Fingerprint) -> list[Difference]:
    """What differs in tables and large objects; the rest has functions of its own. Never row values.

    Where either side only counted, or the majors differ, counts alone are compared.
    """
    digests = "digest" == expected.depth == observed.depth and not incomparable(expected, observed)
    differences = _compare_tables(expected.tables, observed.tables, digests)
    before, after = expected.large_objects, observed.large_objects
    if before.count != after.count:
        differences.append(Difference("large objects", "count", str(before.count), str(after.count)))
    elif digests and before.digest != after.digest:
        differences.append(Difference("large objects", "content", str(before.digest), str(after.digest)))
    return differences


def compare_matviews(expected: Fingerprint, observed: Fingerprint) -> list[Difference]:
    """Like ``compare`` for materialized views, which were recomputed and may rightly differ."""
    digests = "digest" == expected.depth == observed.depth and not incomparable(expected, observed)
    return _compare_tables(expected.matviews, observed.matviews, digests)


def _compare_tables(
    expected: Sequence[TableDigest], observed: Sequence[TableDigest], digests: bool
) -> list[Difference]:
    found = {(table.schema, table.name): table for table in observed}
    differences = []
    for was in expected:
        now, name = found.pop((was.schema, was.name), None), f"table {was.identity}"
        if now is None:
            differences.append(Difference(name, "existence", f"{was.rows} rows", "missing"))
        elif was.kind != now.kind:
            differences.append(Difference(name, "kind", was.kind, now.kind))
        elif was.rows != now.rows:
            differences.append(Difference(name, "rows", str(was.rows), str(now.rows)))
        elif digests and was.digest != now.digest:
            differences.append(Difference(name, "content", str(was.digest), str(now.digest)))
    differences.extend(
        Difference(f"table {table.identity}", "existence", "absent", f"{table.rows} rows")
        for table in found.values()
    )
    return differences
