"""Settings of one process, read once from the environment and passed on explicitly. docs/settings.md documents each."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from app import fault_points
from app.errors import ConfigurationError
from ensembles.errors import Problem

DEFAULT_BIND = "127.0.0.1:8080"
#: A worker that is not heard of for so long loses what it has in hands.
DEFAULT_LEASE_SECONDS = 30.0
#: Variables that are 0 or 1.
SWITCHES = ("SOFTVOTE_WEBHOOK_ALLOW_PRIVATE", "SOFTVOTE_WEBHOOK_ALLOW_HTTP")
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """Everything a process of the service needs to know about where it runs.

    Attributes:
        home: data folder of the embedded default: SQLite file, artifacts, broker folder, secret key.
        database_url: SQLAlchemy URL; PostgreSQL is spelled `postgresql+psycopg://`.
        broker_url: Celery broker; the default is a folder below `home`.
        artifacts: folder of posteriors and data set indexes.
        bind: host:port of the web process.
        auth: "local" (no login, loopback addresses only) or "users".
        public_urls: addresses that people type, each http(s)://HOST[:PORT]; the first is the one in links.
        proxies: reverse proxies in front, whose X-Forwarded-For and X-Forwarded-Proto are believed.
        data_roots: folders that a data set named over REST or in the browser must lie under.
        checkpoint_roots: the same for checkpoint files.
        secret_key: signs sessions and CSRF tokens; made on first start when not set. Never shown.
        url: where the CLI finds a running server; None for the local database.
        token: the CLI's bearer token. Never shown.
        webhook_allow_private: webhooks may call addresses of this machine and its networks.
        webhook_allow_http: webhooks may be called without TLS.
        lease_seconds: how long a worker that is not heard of keeps its work; a sixth of it between two heartbeats.
        fault: a failure to provoke, for tests: "point:n" or "point:n:kind", see `app.fault_points`.
    """

    home: Path
    database_url: str
    broker_url: str
    artifacts: Path
    bind: str = DEFAULT_BIND
    auth: str = "local"
    public_urls: tuple[str, ...] = ()
    proxies: int = 0
    data_roots: tuple[Path, ...] = ()
    checkpoint_roots: tuple[Path, ...] = ()
    secret_key: str | None = None
    url: str | None = None
    token: str | None = None
    webhook_allow_private: bool = False
    webhook_allow_http: bool = False
    lease_seconds: float = DEFAULT_LEASE_SECONDS
    fault: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the `SOFTVOTE_*` variables.

        Raises:
            ConfigurationError: one or more break a rule; all are listed.
        """
        env = os.environ if environment is None else environment
        home = Path(env.get("SOFTVOTE_HOME") or "~/.local/share/softvote").expanduser().absolute()
        settings = cls(
            home=home,
            database_url=env.get("SOFTVOTE_DATABASE_URL") or f"sqlite:///{home / 'softvote.db'}",
            broker_url=env.get("SOFTVOTE_BROKER_URL") or "filesystem://",
            artifacts=Path(env.get("SOFTVOTE_ARTIFACTS") or home / "artifacts").expanduser().absolute(),
            bind=env.get("SOFTVOTE_BIND") or DEFAULT_BIND,
            auth=env.get("SOFTVOTE_AUTH") or "local",
            public_urls=tuple(url.rstrip("/") for url in (env.get("SOFTVOTE_PUBLIC_URL") or "").split()),
            proxies=_count(env.get("SOFTVOTE_PROXIES")),
            data_roots=_folders(env.get("SOFTVOTE_DATA_ROOTS"), home / "data"),
            checkpoint_roots=_folders(env.get("SOFTVOTE_CHECKPOINT_ROOTS"), home / "checkpoints"),
            secret_key=env.get("SOFTVOTE_SECRET_KEY") or None,
            url=(env.get("SOFTVOTE_URL") or "").rstrip("/") or None,
            token=env.get("SOFTVOTE_TOKEN") or None,
            webhook_allow_private=env.get("SOFTVOTE_WEBHOOK_ALLOW_PRIVATE") == "1",
            webhook_allow_http=env.get("SOFTVOTE_WEBHOOK_ALLOW_HTTP") == "1",
            lease_seconds=_number(env.get("SOFTVOTE_LEASE_SECONDS"), DEFAULT_LEASE_SECONDS),
            fault=env.get("SOFTVOTE_FAULT") or None,
        )
        problems = [*settings.problems(), *_switch_problems(env)]
        if problems:
            raise ConfigurationError(problems)
        return settings

    def problems(self) -> list[Problem]:
        """Every rule that these settings break."""
        found = []
        if not self.database_url.startswith(("sqlite:///", "postgresql+psycopg://")):
            rule = "sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME"
            found.append(Problem("SOFTVOTE_DATABASE_URL", rule, redacted(self.database_url)))
        if not self.broker_url.startswith(("filesystem://", "redis://", "rediss://")):
            found.append(
                Problem("SOFTVOTE_BROKER_URL", "filesystem:// or redis://HOST:PORT/DB", redacted(self.broker_url))
            )
        host, _, port = self.bind.rpartition(":")
        if not host or not port.isdecimal() or not 0 <= int(port) < 65536:
            found.append(Problem("SOFTVOTE_BIND", "HOST:PORT", self.bind))
        else:
            found += self._problems_of_access(host.strip("[]"))
        if self.secret_key is not None and len(self.secret_key) < 32:
            found.append(Problem("SOFTVOTE_SECRET_KEY", "at least 32 characters", "(hidden)"))
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            found.append(Problem("SOFTVOTE_URL", "http://HOST or https://HOST", self.url))
        if not 1 <= self.lease_seconds <= 3600:
            found.append(Problem("SOFTVOTE_LEASE_SECONDS", "seconds, from 1 to 3600", self.lease_seconds))
        if self.fault is not None and (broken := fault_points.broken_rule(self.fault)):
            found.append(Problem("SOFTVOTE_FAULT", broken, self.fault))
        return found

    def _problems_of_access(self, host: str) -> list[Problem]:
        found = []
        is_loopback = host in LOOPBACK_HOSTS
        if self.auth not in ("local", "users"):
            found.append(Problem("SOFTVOTE_AUTH", "local or users", self.auth))
        elif self.auth == "local" and not is_loopback:
            rule = (
                "a loopback host, since SOFTVOTE_AUTH=local asks nobody to log in; for others set SOFTVOTE_AUTH=users"
            )
            found.append(Problem("SOFTVOTE_BIND", rule, self.bind))
        elif self.auth == "users" and not is_loopback and not self.public_urls:
            rule = "the address that people type, where SOFTVOTE_BIND is no loopback host"
            found.append(Problem("SOFTVOTE_PUBLIC_URL", rule, ""))
        if not all(map(_is_origin, self.public_urls)):
            rule = "http(s)://HOST or http(s)://HOST:PORT, several with blanks between them"
            found.append(Problem("SOFTVOTE_PUBLIC_URL", rule, " ".join(map(redacted, self.public_urls))))
        if not 0 <= self.proxies <= 8:
            found.append(Problem("SOFTVOTE_PROXIES", "how many proxies stand in front, from 0 to 8", self.proxies))
        elif self.auth == "local" and self.proxies:
            rule = "0, since SOFTVOTE_AUTH=local answers this machine alone and proxies speak for others"
            found.append(Problem("SOFTVOTE_PROXIES", rule, self.proxies))
        return found

    @property
    def public_url(self) -> str:
        """The address for links that people get, without a trailing slash."""
        return self.public_urls[0] if self.public_urls else f"http://{self.bind}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names that a Host header may bear."""
        names = [] if self.auth == "local" else [urlsplit(url).hostname or "" for url in self.public_urls]
        return tuple(dict.fromkeys((*LOOPBACK_HOSTS, *names)))

    @property
    def embedded_broker(self) -> bool:
        """Whether doorbells travel through a folder rather than a Redis server."""
        return self.broker_url.startswith("filesystem://")

    @property
    def sqlite(self) -> bool:
        """Whether the database is one SQLite file on this host."""
        return self.database_url.startswith("sqlite:///")

    def redacted(self) -> dict[str, str]:
        """Settings as text with every secret hidden, for `doctor` and logs."""
        hidden = {
            "secret_key": "(set)" if self.secret_key else "(made on first start)",
            "token": "(set)" if self.token else "(none)",
        }
        shown = {name: str(getattr(self, name)) for name in ("home", "artifacts", "bind", "auth", "url", "proxies")}
        roots = {name: os.pathsep.join(map(str, getattr(self, name))) for name in ("data_roots", "checkpoint_roots")}
        return {
            **shown,
            **({"public_url": " ".join(self.public_urls)} if self.public_urls else {}),
            **roots,
            "database_url": redacted(self.database_url),
            "broker_url": redacted(self.broker_url),
            **hidden,
            "webhook_allow_private": f"{self.webhook_allow_private:d}",
            "webhook_allow_http": f"{self.webhook_allow_http:d}",
            "lease_seconds": f"{self.lease_seconds:g}",
            **({} if self.fault is None else {"fault": self.fault}),
        }


def redacted(url: str) -> str:
    """The URL without the password in it."""
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    user = credentials.partition(":")[0]
    return f"{scheme}{separator}{user}{':***' if ':' in credentials else ''}{at}{host}"


def _switch_problems(env: Mapping[str, str]) -> list[Problem]:
    """What opens something is on, or off, or refused: a mistyped 1 must not pass for a 0."""
    found = ((name, env.get(name) or "0") for name in SWITCHES)
    return [Problem(name, "0 or 1", value) for name, value in found if value not in ("0", "1")]


def _number(value: str | None, default: float) -> float:
    """What is no number becomes NaN, which every rule refuses."""
    try:
        return float(value) if value else default
    except ValueError:
        return math.nan


def _count(value: str | None) -> int:
    """What is no whole number becomes -1, which the rule refuses."""
    text = (value or "0").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else -1


def _is_origin(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and url == f"{parts.scheme}://{parts.netloc}"
            and (parts.username is None and (parts.port or 1) > 0)
        )
    except ValueError:
        return False


def _folders(value: str | None, default: Path) -> tuple[Path, ...]:
    if not value:
        return (default,)
    return tuple(Path(folder).expanduser().absolute() for folder in value.split(os.pathsep) if folder)
