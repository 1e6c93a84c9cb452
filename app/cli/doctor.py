"""`softvote doctor`: what works, what does not, and what to do about it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import click
from sqlalchemy import text

from app.cli.backends import load_runner
from app.cli.output import EXIT_INFRASTRUCTURE, json_option, named_errors, print_json
from app.config import LOOPBACK_HOSTS, Settings
from app.db import migrations, sqlite_file
from app.db.queries import access as access_queries
from app.db.queries import workers as worker_queries
from app.db.session import Database
from app.errors import DatabaseDamagedError, ServiceError

#: Under this much free space a large evaluation is likelier to stop than to finish.
LOW_DISK_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Finding:
    """One checked thing; `advice` says what to do when it is not well."""

    subject: str
    ok: bool
    found: str
    advice: str = ""


@click.command()
@json_option
@named_errors
def doctor(as_json: bool) -> None:
    """Check settings, database, migrations, broker, storage, workers, devices and decoders."""
    settings = Settings.from_environment()
    findings = list(_findings(settings))
    if as_json:
        print_json({"settings": settings.redacted(), "findings": [asdict(finding) for finding in findings]})
    else:
        for name, value in settings.redacted().items():
            click.echo(f"     {name:<17} {value}")
        for finding in findings:
            click.echo(f"{'ok  ' if finding.ok else 'FAIL'} {finding.subject:<17} {finding.found}")
            if not finding.ok:
                click.echo(f"       -> {finding.advice}")
    if not all(finding.ok for finding in findings):
        sys.exit(EXIT_INFRASTRUCTURE)


def _findings(settings: Settings) -> Iterator[Finding]:
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _database,
        _schema,
        _access,
        _broker,
        _storage,
        _workers,
        _devices,
        _decoders,
    )
    for check in checks:
        try:
            yield check(settings)
        except (ServiceError, OSError, click.UsageError) as error:
            yield Finding(check.__name__.strip("_"), ok=False, found=str(error), advice=_ADVICE[check.__name__])


_ADVICE = {
    "_database": "start the database, put back a backup, or correct SOFTVOTE_DATABASE_URL",
    "_schema": "run `softvote migrate`",
    "_access": "open the set-up link that the web process prints, or: softvote user create NAME --role admin",
    "_broker": "start Redis, or correct SOFTVOTE_BROKER_URL",
    "_storage": "give the process a writable folder in SOFTVOTE_ARTIFACTS",
    "_workers": "start one: `softvote worker`, or everything with `softvote up`",
    "_devices": "install the worker extra: pip install 'softvote[worker]'",
    "_decoders": "reinstall Pillow from a wheel with JPEG and WebP",
}


def _database(settings: Settings) -> Finding:
    if settings.sqlite:
        sqlite_file.check(settings.database_url)
    database = Database(settings.database_url)
    with database.read() as session:
        dialect = session.get_bind().dialect
        version = ".".join(map(str, dialect.server_version_info or sqlite3.sqlite_version_info))
        if settings.sqlite:
            # A start reads only what it needs; here every page is looked at.
            answer = str(session.execute(text("PRAGMA quick_check(1)")).scalar_one())
            if answer != "ok":
                raise DatabaseDamagedError(settings.database_url.removeprefix("sqlite:///"), answer)
    return Finding("database", ok=True, found=f"{dialect.name} {version}")


def _schema(settings: Settings) -> Finding:
    found, expected = migrations.current(Database(settings.database_url)), migrations.head()
    return Finding(
        "schema",
        ok=found == expected,
        found=f"at {found or 'no revision'}, head is {expected}",
        advice=_ADVICE["_schema"],
    )


def _access(settings: Settings) -> Finding:
    if settings.auth == "local":
        found = f"local: nobody logs in, and only this machine is answered ({settings.bind})"
        return Finding("access", ok=True, found=found)
    with Database(settings.database_url).read() as session:
        users = [user for user in access_queries.users(session) if not user.disabled]
    admins = sum(user.role == "admin" for user in users)
    found = f"users: {len(users)} can log in, {admins} of them admins; answers to {', '.join(settings.hosts)}"
    if settings.public_url.startswith("http://") and urlsplit(settings.public_url).hostname not in LOOPBACK_HOSTS:
        found += "; passwords and tokens travel in plain HTTP"
    return Finding("access", ok=admins > 0, found=found, advice=_ADVICE["_access"])


def _broker(settings: Settings) -> Finding:
    if settings.embedded_broker:
        return Finding("broker", ok=True, found=f"embedded, in {settings.home / 'broker'}")
    import redis  # noqa: PLC0415 - needed here alone

    client = redis.Redis.from_url(settings.broker_url, socket_connect_timeout=3, socket_timeout=3)
    try:
        version = client.info("server")["redis_version"]
        policy = str(client.config_get("maxmemory-policy").get("maxmemory-policy", "unknown"))
    except redis.RedisError as error:
        return Finding("broker", ok=False, found=str(error), advice=_ADVICE["_broker"])
    finally:
        client.close()
    evicts = policy not in ("noeviction", "unknown")
    advice = "set `maxmemory-policy noeviction`: eviction removes Celery's queue bindings"
    return Finding("broker", ok=not evicts, found=f"redis {version}, {policy}", advice=advice)


def _storage(settings: Settings) -> Finding:
    folder = settings.artifacts
    folder.mkdir(parents=True, exist_ok=True)
    writable = os.access(folder, os.W_OK)
    free = shutil.disk_usage(folder).free
    advice = _ADVICE["_storage"] if not writable else "free some space: a set of 50,000 x 1,000 posteriors takes 200 MB"
    return Finding(
        "storage", ok=writable and free > LOW_DISK_BYTES, found=f"{folder}, {free / 1e9:.1f} GB free", advice=advice
    )


def _workers(settings: Settings) -> Finding:
    with Database(settings.database_url).read() as session:
        alive = [worker for worker in worker_queries.list_all(session) if worker.alive]
    found = ", ".join(f"{worker.name} ({worker.device})" for worker in alive) or "none alive"
    return Finding("workers", ok=bool(alive), found=found, advice=_ADVICE["_workers"])


def _devices(_settings: Settings) -> Finding:
    return Finding("devices", ok=True, found="; ".join(load_runner().describe_devices()))


def _decoders(_settings: Settings) -> Finding:
    import PIL  # noqa: PLC0415
    from PIL import features  # noqa: PLC0415

    missing = [name for name in ("jpg", "zlib", "webp") if not features.check(name)]
    jpeg = features.version("jpg") or "none"
    found = f"Pillow {PIL.__version__}, libjpeg {jpeg}" + (f", without {', '.join(missing)}" if missing else "")
    return Finding("decoders", ok=not missing, found=found, advice=_ADVICE["_decoders"])


def register(group: click.Group) -> None:
    """Add this command."""
    group.add_command(doctor)
