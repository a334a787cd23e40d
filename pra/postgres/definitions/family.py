"""A family of definitions: one query over the catalogues, whose rows are kind, identity and facts (JSON)."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One query.

    Attributes:
        name: For messages: what cannot be read when the role lacks the right.
        query: Selects kind, identity, facts (``jsonb``). Columns that only newer majors have are reached as
            ``to_jsonb(row) ->> 'column'``, which is null elsewhere.
        since: The first major that it is right for.
        until: The last one.
        fallback: What to ask instead where the role lacks the right.
    """

    name: str
    query: str
    since: int = 14
    until: int = 99
    fallback: str = ""


def family(name: str, query: str, *, since: int = 14, until: int = 99, fallback: str = "") -> Family:
    """Make a family, with the shorthands of its query spelled out:

    - ``@own(pg_proc, p.oid)``: made by a user, and not by an extension. OIDs below 16384 are the system's.
    - ``@name(pg_proc, p.oid)``: its full name, quoted, without OIDs.
    - ``@role(p.proowner)``: a role's name.
    """
    return Family(name, expand(query), since, until, expand(fallback))


def expand(query: str) -> str:
    query = re.sub(
        r"@own\((\w+), ([\w.]+)\)",
        r"(\2 >= 16384 AND NOT EXISTS (SELECT FROM pg_depend AS ext WHERE ext.classid = '\1'::regclass"
        r" AND ext.objid = \2 AND ext.deptype = 'e'))",
        query,
    )
    query = re.sub(
        r"@name\((\w+), ([\w.]+)\)", r"(pg_identify_object('\1'::regclass, \2, 0)).identity", query
    )
    return re.sub(r"@role\(([\w.]+)\)", r"pg_get_userbyid(\1)", query)
