"""The repositories of ``pra init``: named, and tried by writing into them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError
from rich.markup import escape

from deployments.cli.doctor_words import show_findings
from deployments.cli.init_cost import say_cost
from deployments.cli.init_state import Setup, refuse_critical
from pra.errors import UsageError
from pra.settings import Repository, from_environment
from pra.settings_source import read_dotenv, variable
from pra.setup import repositories as trials
from pra.setup.answers import RepositoryAnswer, check_name
from pra.storage.local import LocalStorage
from pra.watch.status.finding import Level


def repositories(this: Setup) -> None:
    """Ask for repositories until those that were named work.

    Raises:
        UsageError: With ``--yes``: none was named, or one cannot be used.
    """
    _ = this._
    this.heading(_("4. Where backups are kept"))
    chosen = _given(this) if this.given.repositories else _known(this)
    if chosen:
        chosen = [answer for answer in chosen if _works(this, answer)]
    while not chosen or _another(this, chosen):
        answer = _asked(this, {each.name for each in chosen})
        if _works(this, answer):
            chosen.append(answer)
    this.answer(repositories=tuple(chosen))
    say_cost(this)


def _another(this: Setup, chosen: list[RepositoryAnswer]) -> bool:
    if this.given.yes or this.given.repositories:
        return False
    question = this._("Another one? A second place survives the loss of the first")
    return this.ask.sure(question, default=len(chosen) < 2)


def _given(this: Setup) -> list[RepositoryAnswer]:
    """From options: each option about a repository must be about one that is named."""
    given = this.given
    for option, names in (
        ("--endpoint", given.endpoints),
        ("--region", given.regions),
        ("--access-key-id", given.access_keys),
        ("--object-lock", given.object_lock),
    ):
        for name in names:
            if name not in given.repositories:
                raise UsageError(
                    f"{option} is about a repository that is not named: {name}",
                    op="read options",
                    hint=f"Add --repository {name}=URL.",
                )
    return [
        _of_settings(this, name, as_url(url), given.endpoints.get(name))
        if not url or name in _configured(this)
        else RepositoryAnswer(
            name,
            as_url(url),
            given.endpoints.get(name),
            given.regions.get(name),
            given.access_keys.get(name),
            name in given.object_lock,
        )
        for name, url in given.repositories.items()
    ]


def _configured(this: Setup) -> dict[str, Repository]:
    return this.before.repositories if this.before else {}


def _of_settings(this: Setup, name: str, url: str = "", endpoint: str | None = None) -> RepositoryAnswer:
    """One that pra.toml has already, and keeps: what is tried must be what will be used. Raises UsageError.

    Args:
        url, endpoint: As they were named again; empty where only the name was given.
    """
    known = _configured(this)
    if name not in known:
        raise UsageError(
            f"no such repository: {name}", op="read options", hint=f"Give its URL: --repository {name}=URL."
        )
    found = known[name]
    if url not in ("", found.url) or endpoint not in (None, found.endpoint):
        raise UsageError(
            f"there is a repository {name} already, at another place",
            op="read options",
            hint=f"Use that one with --repository {name}, or give the new one another name.",
        )
    return RepositoryAnswer(
        name, found.url, found.endpoint, found.region, found.access_key_id, found.object_lock
    )


def _known(this: Setup) -> list[RepositoryAnswer]:
    """Of an earlier attempt; for a further target, those that the first one uses."""
    if this.answers.repositories:
        return list(this.answers.repositories)
    if this.before is not None and this.before.targets:
        first = next(iter(this.before.targets.values()))
        return [_of_settings(this, name) for name in first.repositories]
    return []


def as_url(text: str) -> str:
    """A path is a ``file://`` URL that was not spelt out."""
    return Path(text).as_uri() if text.startswith("/") else text


def _asked(this: Setup, taken: set[str]) -> RepositoryAnswer:
    _, ask = this._, this.ask
    url = as_url(
        ask.text(
            _("Where? file:///directory or s3://bucket/prefix"),
            "--repository NAME=URL",
            check=lambda text: _check_url(as_url(text)),
        )
    )
    remote = url.startswith("s3://")
    default = "offsite" if remote else "local"
    name = ask.text(
        _("Name of the repository"),
        "--repository NAME=URL",
        default=_free(default, taken | set(_configured(this))),
        check=lambda text: _check_free(text, taken | set(_configured(this))),
    )
    if not remote:
        return RepositoryAnswer(name, url)
    endpoint = ask.text(_("Endpoint, for servers other than AWS (- for none)"), "--endpoint", default="-")
    region = ask.text(_("Region (- for none)"), "--region", default="-")
    key = ask.text(_("Access key id (- for none)"), "--access-key-id", default="-")
    lock = ask.sure(_("Does the bucket have Object Lock, and shall it be used?"), default=False)
    if key != "-":
        secret = ask.secret(_("Secret access key"))
        if secret:
            this.secrets[variable(("repositories", name, "secret_access_key"))] = secret
    return RepositoryAnswer(name, url, _said(endpoint), _said(region), _said(key), lock)


def _said(text: str) -> str | None:
    return None if text == "-" else text


def _check_url(url: str) -> None:
    if urlsplit(url).scheme not in ("file", "s3"):
        raise UsageError(
            f"neither file:///directory nor s3://bucket/prefix: {url[:80]!r}",
            op="read url",
            hint="Write one of the two; a path alone is a directory here.",
        )
    _settings_of(RepositoryAnswer("new", url), None)


def _free(name: str, taken: set[str]) -> str:
    """The name itself, or with the first number that makes it another."""
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *numbered) if each not in taken)


def _check_free(name: str, taken: set[str]) -> None:
    check_name("the repository's name", name)
    if name in taken:
        raise UsageError(f"{name} is taken", op="read name", hint="Give it a name of its own.")


# -- trial ---------------------------------------------------------------------------------------


def _works(this: Setup, answer: RepositoryAnswer) -> bool:
    """Try it; False: it is to be named anew.

    Raises:
        UsageError: With ``--yes``: it does not work.
    """
    secret = _secret(this, answer)
    settings = _settings_of(answer, secret)
    _make(this, settings)
    with tempfile.TemporaryDirectory(prefix="pra-init-") as scratch:
        found = trials.trial(settings, Path(scratch))
    found += trials.beside(settings, this.server.data_directory)
    show_findings(this.out, found)
    if this.given.yes or this.given.repositories:
        refuse_critical(found)
    if any(finding.level is Level.CRITICAL for finding in found):
        # Given up, perhaps for one of another name: .env must not speak of what pra.toml has not.
        this.secrets.pop(variable(("repositories", answer.name, "secret_access_key")), None)
        return False
    this.findings += found
    return True


def _secret(this: Setup, answer: RepositoryAnswer) -> str | None:
    """From this attempt, the environment, or ``.env``."""
    name = variable(("repositories", answer.name, "secret_access_key"))
    stored = read_dotenv(this.config.parent / ".env").get(name)
    found = this.secrets.get(name) or from_environment(name) or stored
    if found:
        this.secrets[name] = found
    return found or None


def _settings_of(answer: RepositoryAnswer, secret: str | None) -> Repository:
    """Raises UsageError where it could not stand in ``pra.toml``."""
    try:
        return Repository.model_validate(
            {
                "name": answer.name,
                "url": answer.url,
                "endpoint": answer.endpoint,
                "region": answer.region,
                "access_key_id": answer.access_key_id,
                "object_lock": answer.object_lock,
                "secret_access_key": secret,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        hint = str(first.get("ctx", {}).get("hint", "Correct it."))
        raise UsageError(f"repository {answer.name}: {first['msg']}", op="read url", hint=hint) from None


def _make(this: Setup, repository: Repository) -> None:
    """Make the directory of a new repository: here, once, and nowhere else (its disk may not be mounted)."""
    folder = trials.folder_of(repository)
    if folder is None or folder.exists() or not folder.parent.is_dir():
        return
    _ = this._
    question = _("{folder} does not exist. Make it?").format(folder=folder)
    if this.ask.sure(question, default=True):
        LocalStorage(repository.name, repository.url).initialise()
        this.out.text(escape(_("Made {folder}, for this account alone.").format(folder=folder)))
