"""The repositories of ``pra init``: named, tried by writing into them, and what they will have to hold."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError
from rich.markup import escape

from deployments.cli.doctor_words import show_findings
from deployments.cli.init_state import Setup, refuse_critical
from deployments.cli.output import size
from pra.errors import UsageError
from pra.retention import Policy
from pra.settings import Repository, Retention, from_environment
from pra.settings_source import read_dotenv, variable
from pra.setup import repositories as trials
from pra.setup.answers import RepositoryAnswer, check_name
from pra.setup.estimate import Cost, retention_cost
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
    _show_cost(this)


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
        _of_settings(this, name)
        if not url
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


def _of_settings(this: Setup, name: str) -> RepositoryAnswer:
    """One that pra.toml has already."""
    known = this.before.repositories if this.before else {}
    if name not in known:
        raise UsageError(
            f"no such repository: {name}", op="read options", hint=f"Give its URL: --repository {name}=URL."
        )
    found = known[name]
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
        default=default if default not in taken else f"{default}-{len(taken) + 1}",
        check=lambda text: _check_free(text, taken),
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


# -- cost ----------------------------------------------------------------------------------------


def cost_of(this: Setup) -> Cost:
    """What each repository will have to hold, by the size of what is protected."""
    report, answers = this.server, this.answers
    physical = answers.engine == "physical"
    return retention_cost(
        policy(this),
        answers.engine,
        report.replication.server_bytes if physical else report.facts.database_bytes,
        wal_rate=report.wal_rate,
        incremental=physical and report.major >= 17 and report.replication.summarize_wal,
    )


def policy(this: Setup) -> Policy:
    kept = this.before.retention if this.before else Retention()
    return Policy(kept.hourly, kept.daily, kept.weekly, kept.monthly, window=kept.pitr_window)


def _show_cost(this: Setup) -> None:
    this.cost = cost_of(this)
    show_cost(this, this.cost)
    for finding in this.findings:
        if finding.name.endswith(".write"):
            _compare(this, finding.name.split(".")[1], this.cost)


def show_cost(this: Setup, cost: Cost) -> None:
    """The bytes, and how they were computed."""
    _ = this._
    kept = f"{cost.fulls} × {size(cost.full_bytes)}"
    if cost.increments:
        kept += f" + {cost.increments} × {size(cost.increment_bytes)}"
    assumed = _("a backup being assumed to take {share} of the {source} that it copies")
    basis = _("measured by this backup") if cost.measured else assumed
    basis = basis.format(share=f"{cost.share:.0%}", source=size(cost.source_bytes))
    sentence = _("Each repository will hold about {total}: {kept}, {basis}.")
    this.out.text(escape(sentence.format(total=size(cost.total), kept=kept, basis=basis)))
    if cost.engine == "physical":
        if cost.wal_bytes is None:
            this.out.text(_("To that comes WAL of a week; how much the server writes is not known yet."))
        else:
            sentence = _("Of that, {wal} is WAL of a week, by what the server has written so far.")
            this.out.text(sentence.format(wal=size(cost.wal_bytes)))


def _compare(this: Setup, name: str, cost: Cost) -> None:
    """Say where a local disk will not hold it."""
    answer = next((each for each in this.answers.repositories if each.name == name), None)
    if answer is None or not answer.url.startswith("file://"):
        return
    free = LocalStorage(name, answer.url).free_bytes()
    if free is not None and free < cost.total:
        sentence = this._("{name} has {free} free, which will not do: a larger disk, or a shorter retention.")
        this.out.text(f"[yellow]{escape(sentence.format(name=name, free=size(free)))}[/]")
