"""``pra.toml`` and ``.env`` as text, from what the operator decided. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pra.errors import UsageError
from pra.messages import Translate
from pra.settings_source import variable
from pra.setup.answers import Answers, RepositoryAnswer


def toml_text(answers: Answers, _: Translate) -> str:
    """The whole file."""
    lines = [
        "# " + _("Written by pra init. Every key with its meaning: pra.toml.example."),
        "# " + _("Secrets stand in .env beside this file, never here."),
        "",
        f"language = {_string(answers.language)}",
    ]
    if answers.state_dir:
        lines.append(f"state_dir = {_string(answers.state_dir)}")
    lines += ["", *_target(answers, _)]
    for repository in answers.repositories:
        lines += ["", *_repository(repository)]
    lines += ["", "[encryption]", f"recipients = {_list(answers.recipients)}"]
    if answers.bindir:
        lines += ["", "[postgres]", f"bindir = {_string(answers.bindir)}"]
    if answers.slack_channel:
        lines += ["", "[alerts]", f"slack_channel = {_string(answers.slack_channel)}"]
    return "\n".join(lines) + "\n"


def more_text(answers: Answers, known: Sequence[str], _: Translate) -> str:
    """What is added to a file that is there: the target, and those of its repositories that are new.

    Args:
        known: Names of the repositories that the file has.
    """
    lines = ["", *_target(answers, _)]
    for repository in answers.repositories:
        if repository.name not in known:
            lines += ["", *_repository(repository)]
    return "\n".join(lines) + "\n"


def _target(answers: Answers, _: Translate) -> list[str]:
    names = [repository.name for repository in answers.repositories]
    lines = [
        f"[targets.{answers.target}]",
        f"dsn = {_string(answers.dsn)}",
        f"engine = {_string(answers.engine)}",
        f"rpo = {_string(answers.rpo)}",
        f"rto = {_string(answers.rto)}",
        f"repositories = {_list(names)}",
    ]
    if answers.password_from == "env":
        name = variable(("targets", answers.target, "password"))
        lines[1] += "    # " + _("password: {variable} in .env").format(variable=name)
    if answers.critical_tables:
        lines.append(f"critical_tables = {_list(answers.critical_tables)}")
    if answers.suites:
        lines.append(f"suites = {_list(answers.suites)}")
    return lines


def _repository(answer: RepositoryAnswer) -> list[str]:
    lines = [f"[repositories.{answer.name}]", f"url = {_string(answer.url)}"]
    for key in ("endpoint", "region", "access_key_id"):
        value = getattr(answer, key)
        if value:
            lines.append(f"{key} = {_string(value)}")
    if answer.object_lock:
        lines.append("object_lock = true")
    return lines


def _string(text: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _list(texts: Sequence[str]) -> str:
    return "[" + ", ".join(_string(text) for text in texts) + "]"


# -- .env ----------------------------------------------------------------------------------------


def dotenv_text(before: str, secrets: Mapping[str, str]) -> str:
    """The file with these variables set; every other line stays as it is.

    Raises:
        UsageError: A value cannot stand in such a file.
    """
    # Not splitlines(): a secret may hold what that takes for a line's end as well.
    lines = before.removesuffix("\n").split("\n") if before else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in secrets]
    return "".join(f"{line}\n" for line in [*kept, *(_line(name, secrets[name]) for name in secrets)])


def _line(name: str, value: str) -> str:
    if any(character in value for character in "\n\r\0"):
        raise UsageError(
            f"{name} holds a line break", op="write .env", hint="Set it in the environment instead."
        )
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'"
