"""Every error the service raises. A class's stable `code` is stored, returned by REST and listed in docs/errors.md."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import ClassVar

from ensembles.errors import Problem


class ServiceError(Exception):
    """Root of the service's errors."""

    code: ClassVar[str] = "service_error"


class ConfigurationError(ServiceError):
    """Settings that break rules; every problem is listed at once."""

    code = "configuration"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class InvalidRequestError(ServiceError):
    """A request that breaks one or more rules; every problem is listed at once."""

    code = "invalid_request"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class UnauthenticatedError(ServiceError):
    """Nobody, or nobody known, is asking."""

    code = "unauthenticated"


class WrongLoginError(ServiceError):
    """A name and password that open nothing; which of the two is wrong is not told."""

    code = "wrong_login"

    def __init__(self) -> None:
        super().__init__("name or password is wrong, or the account is disabled")


class RateLimitedError(ServiceError):
    """Tried too often."""

    code = "rate_limited"

    def __init__(self, what: str, per_minute: int, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"{what}: at most {per_minute} a minute; try again in {retry_after} s")


class SetupLinkError(ServiceError):
    """A set-up link that was used, has expired, or never was one."""

    code = "setup_link_invalid"

    def __init__(self) -> None:
        super().__init__("this set-up link opens nothing: it was used, or has expired, or there is a user by now")


class LastAdminError(ServiceError):
    """What would leave nobody who may manage users."""

    code = "last_admin"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name!r} is the last admin who can log in; make another user an admin first")


class ForbiddenError(ServiceError):
    """Whoever asks may not do this."""

    code = "forbidden"


class NotFoundError(ServiceError):
    """No such checkpoint, data set, evaluation…; near names are suggested."""

    code = "not_found"

    def __init__(self, kind: str, key: str, known: Iterable[str] = ()) -> None:
        self.kind, self.key = kind, key
        self.near = tuple(difflib.get_close_matches(key, list(known), n=3, cutoff=0.5))
        hint = f"; did you mean {' or '.join(self.near)}?" if self.near else ""
        super().__init__(f"no {kind} {key!r}{hint}")


class NameTakenError(ServiceError):
    """A name that another row of the same kind bears."""

    code = "name_taken"

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"name: a {kind} named {name!r} exists; names are unique")


class NotReadyError(ServiceError):
    """A checkpoint or data set whose registration has not finished, or has failed."""

    code = "not_ready"

    def __init__(self, kind: str, name: str, state: str) -> None:
        self.kind, self.name, self.state = kind, name, state
        super().__init__(f"{kind} {name!r} is {state}; only a ready one can be used")


class InUseError(ServiceError):
    """Something that cannot be deleted while evaluations use it."""

    code = "in_use"

    def __init__(self, kind: str, name: str, users: int, user: str = "evaluation") -> None:
        self.kind, self.name, self.users = kind, name, users
        super().__init__(f"{kind} {name!r} is used by {users} {user}{'s' if users != 1 else ''} and cannot be deleted")


class StateConflictError(ServiceError):
    """A transition that the present state does not allow."""

    code = "state_conflict"

    def __init__(self, kind: str, key: str, state: str, action: str) -> None:
        self.kind, self.key, self.state, self.action = kind, key, state, action
        super().__init__(f"{kind} {key} is {state}; it cannot be {action}")


class PreconditionFailedError(ServiceError):
    """An edit that was made on an earlier version than the present one."""

    code = "precondition_failed"

    def __init__(self, kind: str, key: str, version: str) -> None:
        self.kind, self.key, self.version = kind, key, version
        super().__init__(f'If-Match: the {kind} {key!r} was changed meanwhile; its ETag is now "{version}"')


class IdempotencyConflictError(ServiceError):
    """An Idempotency-Key that came before with another request."""

    code = "idempotency_conflict"

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"Idempotency-Key: {key!r} was used before with another request")


class SearchTooLargeError(ServiceError):
    """A search of an ensemble that would keep a web process for minutes."""

    code = "search_too_large"

    def __init__(self, what: str, asked: int, limit: int) -> None:
        self.what, self.asked, self.limit = what, asked, limit
        super().__init__(
            f"the search needs {asked:,} {what}, more than the {limit:,} of one request; search over fewer units, by"
            " another method or without cross-fitting, or with `softvote ensemble search` at the machine, which has no"
            " such limit"
        )


class PathForbiddenError(ServiceError):
    """A path outside the allow-listed roots, or one that does not exist: a stranger learns no difference."""

    code = "path_forbidden"

    def __init__(self, field: str, path: str, setting: str) -> None:
        self.field, self.path, self.setting = field, path, setting
        super().__init__(f"{field}: a path that exists under one of the folders of {setting} is needed; got {path!r}")


class LeaseLostError(ServiceError):
    """The lease went to another worker: whatever this one still does must leave no trace."""

    code = "lease_lost"

    def __init__(self, kind: str, key: str, token: int) -> None:
        self.kind, self.key, self.token = kind, key, token
        super().__init__(f"the lease on {kind} {key} with token {token} is no longer held")


class ArtifactDamagedError(ServiceError):
    """A stored file that is missing or whose content is not what its checksum says."""

    code = "artifact_damaged"

    def __init__(self, key: str, reason: str) -> None:
        self.key, self.reason = key, reason
        super().__init__(f"artifact {key!r} is damaged: {reason}")


class ImportDamagedError(ServiceError):
    """Stored predictions that were imported are missing or different: only who has the file can bring them again."""

    code = "import_damaged"

    def __init__(self, key: str, reason: str) -> None:
        self.key, self.reason = key, reason
        super().__init__(f"artifact {key!r} is damaged: {reason}")


class StorageFullError(ServiceError):
    """No room for an artifact; work waits until there is, and no attempt is burnt."""

    code = "storage_full"

    def __init__(self, folder: str, needed_bytes: int) -> None:
        self.folder, self.needed_bytes = folder, needed_bytes
        super().__init__(f"no room under {folder!r} for {needed_bytes} bytes")


class NothingToScoreError(ServiceError):
    """An evaluation of which every image was excluded or unreadable."""

    code = "nothing_to_score"

    def __init__(self, images: int, unreadable: int) -> None:
        self.images, self.unreadable = images, unreadable
        super().__init__(
            f"at least one image is needed to score; of {images}, {unreadable} could not be read, the rest is excluded"
        )


class OutcomesMissingError(ServiceError):
    """An evaluation whose outcomes of single images were not kept, so that it cannot be compared."""

    code = "outcomes_missing"

    def __init__(self, evaluation_id: str) -> None:
        self.evaluation_id = evaluation_id
        super().__init__(
            f"evaluation {evaluation_id} kept no outcomes of single images; submit it again, its predictions are known"
        )


class CheckpointReplacedError(ServiceError):
    """A member of a saved ensemble whose file was overwritten: the ensemble that was saved is no longer there."""

    code = "checkpoint_replaced"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"the file of checkpoint {name!r} was overwritten, so that the saved ensemble is no longer what it was;"
            " put the file back, or save the ensemble anew"
        )


class DatabaseUnavailableError(ServiceError):
    """The database does not answer, or stays locked past the patience of one request."""

    code = "database_unavailable"


class DatabaseDamagedError(ServiceError):
    """The SQLite file is not what the service wrote. Nothing is made anew in its place: a backup is needed."""

    code = "database_damaged"

    def __init__(self, database: str, reason: str) -> None:
        self.database, self.reason = database, reason
        super().__init__(
            f"the database {database!r} is damaged: {reason}; stop every process and put back a backup"
            " (docs/operations.md, Backup and restore)"
        )


class SchemaOutdatedError(ServiceError):
    """The database's migrations are not at this release's head."""

    code = "schema_outdated"

    def __init__(self, found: str | None, expected: str, *, newer: bool) -> None:
        self.found, self.expected, self.newer = found, expected, newer
        advice = "a newer release made it: use that one" if newer else "run `softvote migrate`"
        super().__init__(f"the database schema is at {found or 'no revision'}, this release needs {expected}; {advice}")
