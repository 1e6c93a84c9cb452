"""What must hold of a SQLite file before it is opened: otherwise SQLite would make do, and lose something silently."""

from __future__ import annotations

import os
import time
from pathlib import Path

from app.errors import ConfigurationError, DatabaseDamagedError
from ensembles.errors import Problem

#: Processes on several hosts would share no memory there, which the write-ahead log needs.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs"}
)
_MOUNTS = Path("/proc/self/mounts")
#: A process that closes the file removes first the one neighbour, then the other, within this time.
_CLOSING_SECONDS = 0.2


def check(url: str) -> None:
    """Make sure that the database of a `sqlite:///` URL is fit to be opened; it need not exist yet.

    Raises:
        ConfigurationError: it lies on a network file system, or may not be written.
        DatabaseDamagedError: its write-ahead log, with the newest transactions in it, was taken away.
    """
    path = Path(url.removeprefix("sqlite:///"))
    kind = file_system_of(path, _MOUNTS.read_text(encoding="utf-8", errors="replace") if _MOUNTS.exists() else "")
    if kind in NETWORK_FILE_SYSTEMS:
        rule = "a file on a local disk; on a network file system SQLite loses transactions, use PostgreSQL there"
        raise ConfigurationError([Problem("SOFTVOTE_DATABASE_URL", rule, f"{path} on {kind}")])
    folder = next(parent for parent in path.parents if parent.exists())
    for needed in (folder, *([path] if path.exists() else [])):
        if not os.access(needed, os.W_OK):
            rule = "a file, in a folder, that this process may write"
            raise ConfigurationError([Problem("SOFTVOTE_DATABASE_URL", rule, str(needed))])
    if _log_is_missing(path):
        time.sleep(_CLOSING_SECONDS)
        if _log_is_missing(path):
            index = path.with_name(f"{path.name}-shm").name
            raise DatabaseDamagedError(
                str(path),
                f"{path.name}-wal is missing, with the newest transactions in it, while {index} is there"
                f" (if nothing was lost, as after putting back a backup, remove {index})",
            )


def file_system_of(path: Path, mounts: str) -> str | None:
    """The type of the file system that `path` lies or would lie on.

    Args:
        path: need not exist.
        mounts: text in the format of /proc/mounts: device, mount point, type and more, a line each.
    """
    resolved = path.resolve()
    found: tuple[int, str | None] = (-1, None)
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        # The kernel writes blanks and the like in octal.
        point = Path(fields[1].encode().decode("unicode_escape"))
        # Of two on the same point the later one is seen.
        if resolved.is_relative_to(point) and len(point.parts) >= found[0]:
            found = (len(point.parts), fields[2])
    return found[1]


def _log_is_missing(path: Path) -> bool:
    wal, shm = (path.with_name(f"{path.name}-{suffix}") for suffix in ("wal", "shm"))
    return path.exists() and shm.exists() and not wal.exists()
