"""From files and variables to one raw mapping, and from pydantic's complaints to ours.

Order, later wins: ``pra.toml``, ``.env`` beside it, the environment. This module knows nothing of any
particular setting: it walks the model it is given.
"""

from __future__ import annotations

import difflib
import json
import stat
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Union, get_args, get_origin

from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr, ValidationError

from pra.errors import SettingsError

PREFIX = "PRA_"
OP = "read settings"
NOT_SETTINGS = frozenset({"PRA_CONFIG", "PRA_REQUIRE_ALL"})
_NOT_SETTINGS_PREFIX = "PRA_TEST_"


def fail(message: str, hint: str) -> NoReturn:
    raise SettingsError(message, op=OP, hint=hint)


def read_toml(path: Path) -> dict[str, Any]:
    """Read ``pra.toml``.

    Raises:
        SettingsError: It cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        fail(
            f"cannot read {path}: {error.strerror}", "Copy pra.toml.example, or set PRA_CONFIG to your file."
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        fail(f"{path} is not TOML: {error}", "Mend the line that is named; pra.toml.example shows the form.")


def read_dotenv(path: Path) -> dict[str, str]:
    """Read ``.env`` where it exists; it holds secrets, so nobody else may read it.

    Raises:
        SettingsError: Its mode lets group or others in, or it cannot be read.
    """
    if not path.exists():
        return {}
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o177:
        fail(f"{path} has mode {mode:04o}, others could read its secrets", f"Run: chmod 600 {path}")
    try:
        values = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read {path}: {type(error).__name__}", "Write NAME=value, one a line, in UTF-8.")
    return {name: value for name, value in values.items() if value is not None}


def refuse_secrets(raw: Mapping[str, Any], model: type[BaseModel]) -> None:
    """Secrets come from the environment alone: a file like pra.toml is copied, mailed and committed."""
    for path in _leaves(raw, ()):
        if _is_secret(_annotation(model, path)):
            fail(
                f"{dotted(path)} is a secret and must not stand in pra.toml",
                f"Remove it there and set {variable(path)} in the environment or in .env (mode 0600).",
            )


def overlay(raw: dict[str, Any], variables: Mapping[str, str], model: type[BaseModel]) -> None:
    """Write every ``PRA_…`` variable into ``raw``; ``__`` goes one level down."""
    for name in sorted(variables):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS or name.startswith(_NOT_SETTINGS_PREFIX):
            continue
        path = _path_of(name, raw, model)
        if not variables[name] and _is_secret(_annotation(model, path)):
            continue  # a line of .env.example that was left as it is
        place = raw
        for key in path[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                fail(f"{name} goes below {key}, which is a plain value in pra.toml", "Make it a table there.")
        place[path[-1]] = _value(name, variables[name], _annotation(model, path))


def explain(error: ValidationError, model: type[BaseModel]) -> NoReturn:
    """Turn pydantic's first complaint into a SettingsError. The value itself is never repeated."""
    # A misspelt key is also a missing one: the misspelling is what to say.
    complaints = error.errors(include_url=False, include_input=False)
    first = min(complaints, key=lambda complaint: complaint["type"] != "extra_forbidden")
    path = tuple(part for part in first["loc"] if not str(part).startswith("function-"))
    where = dotted(path) or "settings"
    if first["type"] == "extra_forbidden":
        fail(f"unknown key {where}", nearest(path, _keys(_annotation(model, path[:-1]))))
    if first["type"] == "missing":
        fail(f"{where} is missing", f"Set it in pra.toml, or as {variable(path)}.")
    hint = first.get("ctx", {}).get("hint") or "pra.toml.example shows every key with its form."
    message = first["msg"].removeprefix("Value error, ")
    fail(f"{where}: {message[:1].lower()}{message[1:]}", str(hint))


def nearest(path: Sequence[int | str], known: Sequence[str]) -> str:
    """Name the known key that looks most like the last of ``path``, by its full path."""
    close = difflib.get_close_matches(str(path[-1]).lower(), known, n=1, cutoff=0.4)
    if close:
        return f"Did you mean {dotted((*path[:-1], close[0]))}?"
    return f"Known here: {', '.join(sorted(known))}." if known else "Remove it."


def dotted(path: Sequence[int | str]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def variable(path: Sequence[int | str]) -> str:
    return PREFIX + "__".join(str(part).upper().replace("-", "_") for part in path)


def _leaves(value: Any, path: tuple[int | str, ...]) -> Iterator[tuple[int | str, ...]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _leaves(below, (*path, index))
    else:
        yield path


def _plain(annotation: Any) -> Any:
    """The annotation without ``| None``."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return parts[0] if len(parts) == 1 else annotation
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_secret(annotation: Any) -> bool:
    return _plain(annotation) is SecretStr


def _annotation(model: Any, path: Sequence[int | str]) -> Any:
    """What the model expects at ``path``; None where it knows nothing of it."""
    here = _plain(model)
    for part in path:
        if _is_model(here):
            field = here.model_fields.get(str(part))
            here = _plain(field.annotation) if field else None
        elif get_origin(here) is dict:
            here = _plain(get_args(here)[1])
        elif get_origin(here) is list:
            here = _plain(get_args(here)[0])
        else:
            return None
    return here


def _keys(annotation: Any) -> list[str]:
    return list(annotation.model_fields) if _is_model(annotation) else []


def _path_of(name: str, raw: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, ...]:
    """``PRA_TARGETS__MY_DB__PASSWORD`` is ``targets.my-db.password``: a variable cannot hold a hyphen."""
    parts = name[len(PREFIX) :].lower().split("__")
    path: list[str] = []
    for part in parts:
        here = _annotation(model, path)
        if get_origin(here) is dict:
            named = _named(raw, path)
            path.append(next((key for key in named if key.replace("-", "_") == part), part.replace("_", "-")))
        elif part in _keys(here):
            path.append(part)
        else:
            known = [variable((*path, key)) for key in _keys(here)]
            close = difflib.get_close_matches(variable((*path, part)), known, n=1, cutoff=0.4)
            fail(f"unknown variable {name}", f"Did you mean {close[0]}…?" if close else "Unset it.")
    return tuple(path)


def _named(raw: Mapping[str, Any], path: Sequence[str]) -> list[str]:
    here: Any = raw
    for part in path:
        here = here.get(part, {}) if isinstance(here, Mapping) else {}
    return list(here) if isinstance(here, Mapping) else []


def _value(name: str, text: str, annotation: Any) -> Any:
    """Lists and tables are written as JSON; a list of words may also be separated by commas."""
    compound = get_origin(annotation) in (dict, list) or _is_model(annotation)
    if not compound:
        return text
    if get_origin(annotation) is list and not text.lstrip().startswith("["):
        return [word.strip() for word in text.split(",") if word.strip()]
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        fail(f"{name} is not JSON", 'Write a list as ["a", "b"] and a table as {"key": "value"}.')
