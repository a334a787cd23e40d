"""What may be said aloud: text from tools and servers without secrets and without the values of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "***"

# PostgreSQL puts the values of rows into these lines (and into the statement that it repeats).
_VALUE_LINES = re.compile(r"^\s*(?:\S+:\s+)*(?:DETAIL|CONTEXT|STATEMENT|QUERY|Command was):", re.IGNORECASE)
_SECRETS = (
    (re.compile(r"(postgres(?:ql)?://[^\s:@/]*):[^\s@/]+@"), rf"\1:{MASK}@"),
    (re.compile(r"(password\s*=\s*)('[^']*'|\S+)", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"(PASSWORD\s+)'[^']*'", re.IGNORECASE), rf"\1'{MASK}'"),
    (re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]+"), MASK),
    (re.compile(r"(SCRAM-SHA-256\$)\S+"), rf"\1{MASK}"),
    (re.compile(r"(xox[abprs]-)[0-9A-Za-z-]+"), rf"\1{MASK}"),
    (re.compile(r"(hooks\.slack\.com/services/)\S+"), rf"\1{MASK}"),
    (re.compile(r'(invalid input (?:syntax|value) for [^:]+: )".*"'), rf"\1{MASK}"),
    (re.compile(r'(value )".*"( is out of range)'), rf"\1{MASK}\2"),
)


def redact(text: str, secrets: Sequence[str] = ()) -> str:
    """Remove value-bearing lines, known shapes of secrets, and every given secret of 4 characters or more."""
    kept: list[str] = []
    dropping = False
    for line in text.splitlines():
        # A dropped line's continuation is indented or follows until the next line with a severity.
        dropping = bool(_VALUE_LINES.match(line)) or (dropping and line[:1] in ("\t", " "))
        if not dropping:
            kept.append(line)
    clean = "\n".join(kept)
    for secret in secrets:
        if len(secret) >= 4:
            clean = clean.replace(secret, MASK)
    for pattern, replacement in _SECRETS:
        clean = pattern.sub(replacement, clean)
    return clean
