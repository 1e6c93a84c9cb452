"""The fault cases F20 to F27 of databases: what is committed stays, what cannot be served is refused by name."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, select

from app.config import Settings
from app.db import migrations, session, sqlite_file
from app.db.models import Evaluation, Event
from app.db.session import Database
from app.errors import ConfigurationError, DatabaseDamagedError, DatabaseUnavailableError, SchemaOutdatedError
from app.factory import create_app
from app.runtime import Runtime, build_runtime
from tests.app_builders import Service, make_runtime
from tests.catalogue import Catalogue
from tests.databases import SERVER, postgresql_url
from tests.nemesis.servers import PostgresqlServer, missing_programs

BODY = {"dataset": "digits", "checkpoints": ["vgg-a"], "protocol": {"scales": [40]}}


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    made = make_runtime(tmp_path / "home")
    yield made
    made.db.dispose()


def file_of(runtime: Runtime) -> Path:
    return runtime.settings.home / "softvote.db"


def filled(runtime: Runtime) -> Service:
    service = Service(runtime)
    service.add_checkpoint()
    service.add_dataset()
    return service


def started(home: Path, *, migrate: bool = True) -> None:
    """What every process does first."""
    build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(home)}), migrate=migrate).db.dispose()


def softvote(home: Path, *arguments: str, unprivileged: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SOFTVOTE_HOME": str(home), "SOFTVOTE_URL": ""}
    program = "import sys; from app.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, *arguments]
    if unprivileged and os.getuid() == 0:
        command = ["setpriv", "--bounding-set", "-dac_override", *command]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """A file system of its own in memory; where none may be mounted the test is skipped."""
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"needs the right to mount a file system: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def whole(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


@pytest.mark.services
def test_f20_connections_that_are_ended_all_the_time_lose_and_double_nothing(tmp_path: Path) -> None:
    with postgresql_url() as url:
        migrations.upgrade(url)
        db = Database(url)
        catalogue = Catalogue(tmp_path / "home", db)
        catalogue.dataset(images=100)
        catalogue.checkpoint("a")
        stopping, ended = threading.Event(), []

        def end_connections() -> None:
            ending = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> pg_backend_pid()"
            )
            with psycopg.connect(SERVER, autocommit=True) as connection:
                chance = random.Random(20)  # noqa: S311 - no secret
                while not stopping.wait(chance.uniform(0.01, 0.4)):
                    row = connection.execute(ending, [url.rsplit("/", 1)[1]]).fetchone()
                    ended.append(int(row[0]) if row else 0)

        def persistently(work: Callable[[], Any]) -> Any:
            for _ in range(200):
                try:
                    return work()
                except DatabaseUnavailableError:
                    time.sleep(0.01)
            pytest.fail("the database was not there 200 times in a row")

        thread = threading.Thread(target=end_connections)
        thread.start()
        try:
            promised: list[str] = []
            while len(promised) < 40 or (sum(ended) < 8 and len(promised) < 2000):
                key = str(len(promised))
                promised.append(persistently(lambda key=key: catalogue.submit("a", protocol={"scales": [32]}, key=key)))
        finally:
            stopping.set()
            thread.join()
        assert sum(ended) >= 8
        with db.read() as reading:
            assert sorted(reading.scalars(select(Evaluation.id))) == sorted(promised)
            submitted = select(func.count()).select_from(Event).where(Event.kind == "evaluation_submitted")
            assert reading.scalars(submitted).one() == len(promised)
        db.dispose()


@pytest.mark.services
@pytest.mark.slow
@pytest.mark.skipif(bool(missing_programs()), reason=f"needs {' and '.join(missing_programs())}")
def test_f21_a_stopped_postgresql_is_answered_503_and_served_again_when_it_is_back(tmp_path: Path) -> None:
    server = PostgresqlServer()
    try:
        server.start_anew()
        environment = {"SOFTVOTE_HOME": str(tmp_path / "home"), "SOFTVOTE_DATABASE_URL": server.url}
        made = build_runtime(Settings.from_environment(environment), migrate=True)
        service = filled(made)
        client = create_app(made).test_client()
        before = client.post("/api/v1/evaluations", json=BODY)
        server.stop("immediate")
        refused = client.post("/api/v1/evaluations", json=BODY)
        assert (refused.status_code, refused.json["code"]) == (503, "database_unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert client.get("/readyz").status_code == 503
        server.start()
        shown = client.get(before.headers["Location"])
        assert (before.status_code, shown.status_code, shown.json["status"]) == (202, 200, "queued")
        assert client.post("/api/v1/evaluations", json=BODY).status_code == 202
        service.predict()
        assert client.get(before.headers["Location"]).json["status"] == "fusing"
        made.db.dispose()
    finally:
        server.remove()


@contextmanager
def locked(database: Path, seconds: float) -> Iterator[None]:
    """Another process's exclusive transaction, for a time."""
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(seconds, connection.execute, ["ROLLBACK"])
    timer.start()
    try:
        yield
    finally:
        timer.join()
        connection.close()


def test_f22_a_locked_database_is_waited_for(runtime: Runtime) -> None:
    filled(runtime)
    client = create_app(runtime).test_client()
    with locked(file_of(runtime), 1.5):
        began = time.monotonic()
        assert client.post("/api/v1/evaluations", json=BODY).status_code == 202
    assert time.monotonic() - began >= 1


def test_f22_a_database_locked_for_longer_is_answered_503(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "BUSY_SECONDS", 0.3)
    made = make_runtime(tmp_path / "home")
    filled(made)
    client = create_app(made).test_client()
    with locked(file_of(made), 2):
        refused = client.post("/api/v1/evaluations", json=BODY)
        assert client.get("/api/v1/evaluations").status_code == 200, "readers wait for no writer"
    assert (refused.status_code, refused.json["code"]) == (503, "database_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert "locked" in refused.json["detail"]
    assert "Traceback" not in caplog.text
    assert client.post("/api/v1/evaluations", json=BODY).status_code == 202
    made.db.dispose()


@pytest.mark.parametrize("migrate", [False, True])
def test_f23_a_read_only_file_system_is_refused_at_start_by_name(tmp_path: Path, migrate: bool) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=8m"):
        started(disk / "home")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(ConfigurationError, match="this process may write") as refused:
            started(disk / "home", migrate=migrate)
        assert [problem.field for problem in refused.value.problems] == ["SOFTVOTE_DATABASE_URL"]
        assert softvote(disk / "home", "ls").returncode == 4


@pytest.mark.skipif(os.getuid() == 0 and not shutil.which("setpriv"), reason="needs setpriv, as root may write all")
@pytest.mark.parametrize(("protected", "mode"), [("home/softvote.db", 0o400), ("home", 0o500), (".", 0o500)])
def test_f23_what_may_not_be_written_is_refused_without_a_trace(protected: str, mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if protected != ".":
        started(folder / "home")
    (folder / protected).chmod(mode)
    answer = softvote(folder / "home", "migrate", unprivileged=True)
    (folder / protected).chmod(0o700)
    assert answer.returncode == 4, answer.stderr
    assert "Error [configuration]" in answer.stderr
    assert str(folder / "home") in answer.stderr
    assert "Traceback" not in answer.stderr


MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
server:/export /srv/shared\\040data nfs4 rw,vers=4.2 0 0
tmpfs /srv/shared\\040data/local tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/softvote/softvote.db", "ext4"),
        ("/srv/shared data/softvote.db", "nfs4"),
        ("/srv/shared data/local/softvote.db", "tmpfs"),
        ("/srv/shared database/softvote.db", "ext4"),
    ],
)
def test_f23_the_file_system_of_a_path_is_found(path: str, kind: str) -> None:
    assert sqlite_file.file_system_of(Path(path), MOUNTS) == kind


def test_f23_a_network_file_system_is_refused_and_postgresql_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/home {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(sqlite_file, "_MOUNTS", mounts)
    with pytest.raises(ConfigurationError, match=r"local disk.*PostgreSQL.* on nfs4"):
        started(tmp_path / "home")
    assert not (tmp_path / "home" / "softvote.db").exists()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "garbage": lambda data: os.urandom(len(data)),
    "a web page": lambda _: b"<!doctype html><title>404</title>" * 200,
    "half": lambda data: data[: len(data) // 2],
    "a quarter and a bit": lambda data: data[: len(data) // 4 + 100],
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("migrate", [False, True])
def test_f24_a_damaged_file_is_refused_and_stays_as_it_is(damage: str, migrate: bool, runtime: Runtime) -> None:
    filled(runtime)
    runtime.db.dispose()
    path = file_of(runtime)
    damaged = DAMAGE[damage](path.read_bytes())
    path.write_bytes(damaged)
    if damage == "nothing" and not migrate:
        with pytest.raises(SchemaOutdatedError, match="at no revision"):
            started(runtime.settings.home, migrate=False)
        return
    with pytest.raises(DatabaseDamagedError, match="Backup and restore"):
        started(runtime.settings.home, migrate=migrate)
    if damaged:
        assert path.read_bytes() == damaged
    else:
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    answer = softvote(runtime.settings.home, "migrate")
    assert (answer.returncode, "Traceback" in answer.stderr) == (4, False)
    assert "Error [database_damaged]" in answer.stderr


def test_f24_a_database_that_is_gone_is_not_made_anew_beside_its_results(runtime: Runtime) -> None:
    filled(runtime)
    runtime.db.dispose()
    file_of(runtime).unlink()
    with pytest.raises(DatabaseDamagedError, match=r"it is empty, while .* holds results such as 'datasets/"):
        started(runtime.settings.home)


def test_f24_a_log_that_was_taken_away_is_missed(tmp_path: Path) -> None:
    """As after `kill -9` and a tidy hand: the newest transactions are in the log only."""
    home = tmp_path / "home"
    program = """
import os, signal, sys
from pathlib import Path
from tests.app_builders import Service, make_runtime
Service(make_runtime(Path(sys.argv[1]))).add_checkpoint()
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program, str(home)], check=False)
    assert killed.returncode == -9
    log = home / "softvote.db-wal"
    taken = log.rename(home / "taken")
    with pytest.raises(DatabaseDamagedError, match=r"softvote.db-wal is missing.*remove softvote.db-shm"):
        started(home)
    taken.rename(log)
    started(home)


def test_f24_a_damaged_page_is_found_by_the_doctor_and_named_when_it_is_read(runtime: Runtime) -> None:
    filled(runtime)
    runtime.db.dispose()
    path = file_of(runtime)
    size = path.stat().st_size
    with path.open("r+b") as file:
        for offset in range(8192, size, 4096):
            file.seek(offset)
            file.write(b"\xff" * 64)
    answer = softvote(runtime.settings.home, "doctor")
    assert answer.returncode == 4
    assert "FAIL database" in answer.stdout
    assert "put back a backup" in answer.stdout
    with pytest.raises(DatabaseDamagedError), runtime.db.read() as reading:
        reading.scalars(select(Event)).all()


def test_f27_a_database_on_a_full_disk_is_answered_503_and_stays_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=4m"):
        made = make_runtime(disk / "home")
        filled(made)
        client = create_app(made).test_client()
        promised = [client.post("/api/v1/evaluations", json=BODY).headers["Location"] for _ in range(3)]
        filler = disk / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize)
        answers = [client.post("/api/v1/evaluations", json=BODY) for _ in range(200)]
        refused = answers[-1]
        assert (refused.status_code, refused.json["code"]) == (503, "database_unavailable")
        assert "full" in refused.json["detail"]
        promised += [answer.headers["Location"] for answer in answers if answer.status_code == 202]
        assert {answer.status_code for answer in answers} <= {202, 503}
        filler.unlink()
        assert client.post("/api/v1/evaluations", json=BODY).status_code == 202
        assert {client.get(one).status_code for one in promised} == {200}
        with made.db.read() as reading:
            assert reading.scalars(select(func.count()).select_from(Evaluation)).one() == len(promised) + 1
        made.db.dispose()
        assert whole(file_of(made))
