"""What people type, kept as they typed it, beside everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from pydantic import ValidationError
from werkzeug.datastructures import MultiDict

from app.errors import InvalidRequestError, NameTakenError, PathForbiddenError, ServiceError
from app.representations.base import Request
from app.representations.requests import CheckpointRequest, DatasetRequest
from ensembles.errors import EnsemblesError, Problem

R = TypeVar("R", bound=Request)


@dataclass(frozen=True)
class FieldProblem:
    """One thing to mend: the field it stands beside, that field's name on the page, and a sentence."""

    field: str
    label: str
    text: str


@dataclass
class Form:
    """The text of every field, and the problems found so far.

    Attributes:
        values: as they were sent; a field that was not sent is empty.
        problems: in the order of the fields on the page.
    """

    values: MultiDict[str, str]
    problems: list[FieldProblem] = field(default_factory=list)

    #: Field name in the request -> its name on the page, in the page's order.
    labels: ClassVar[Mapping[str, str]] = {}

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    def problems_at(self, name: str) -> list[FieldProblem]:
        """What stands beside one field."""
        return [problem for problem in self.problems if problem.field == name]

    def refuse(self, error: ServiceError | EnsemblesError) -> None:
        """Take over what a service found wrong; an error that names no field of this form stands beside the first."""
        found = getattr(error, "problems", None)
        if found is None:
            field_name = getattr(error, "field", None) or ("name" if isinstance(error, NameTakenError) else "")
            self.add(field_name, _without_field(str(error)))
            return
        for problem in found:
            self.add(problem.field, sentence(problem))

    def read(self, request_class: type[R], body: Mapping[str, object]) -> R | None:
        """The request that `body` makes; None, with problems, where it makes none."""
        try:
            return request_class.model_validate(body)
        except ValidationError as error:
            for complaint in error.errors(include_url=False):
                self.add(".".join(map(str, complaint["loc"])), complaint["msg"])
            return None

    def require(self, **messages: str) -> bool:
        """Whether every named field is filled; a message beside each that is not."""
        missing = [name for name in messages if not self[name].strip()]
        for name in missing:
            self.add(name, messages[name])
        return not missing

    def label(self, name: str) -> str:
        """How the page calls a field."""
        return self.labels[name]

    def known(self, name: str) -> bool:
        """Whether the form has this field."""
        return name in self.labels

    def add(self, name: str, text: str) -> None:
        """Note a problem beside the field that a dotted path leads to or into."""
        place = self._nearest(name)
        problem = FieldProblem(place, self.label(place), text)
        if problem not in self.problems:
            self.problems.append(problem)
            self.problems.sort(key=lambda p: self.order(p.field))

    def order(self, name: str) -> int:
        """Place of a field on the page."""
        return list(self.labels).index(name)

    def _nearest(self, name: str) -> str:
        """The field of the form that a dotted path leads to or into."""
        parts = name.split(".")
        while parts:
            if self.known(".".join(parts)):
                return ".".join(parts)
            parts.pop()
        return next(iter(self.labels))


class CheckpointForm(Form):
    """Register a weights file."""

    labels: ClassVar[Mapping[str, str]] = {
        "path": "File",
        "name": "Name",
        "training_scale": "Training scale S",
        "preprocessing": "Preprocessing",
        "tags": "Tags",
        "notes": "Notes",
    }

    def request(self) -> CheckpointRequest | None:
        """What was asked for; None, with problems, where a field is missing."""
        if not self.require(path="the path of a weights file is needed", name="a name is needed"):
            return None
        return self.read(
            CheckpointRequest,
            {
                "path": self["path"].strip(),
                "name": self["name"].strip(),
                "training_scale": self["training_scale"].strip() or None,
                "preprocessing": self["preprocessing"] or None,
                "tags": [tag.strip() for tag in self["tags"].split(",") if tag.strip()],
                "notes": self["notes"],
            },
        )


class DatasetForm(Form):
    """Register a folder of class folders, or a manifest."""

    labels: ClassVar[Mapping[str, str]] = {"path": "Folder or manifest", "name": "Name"}

    def request(self) -> DatasetRequest | None:
        """What was asked for; None, with problems, where a field is missing."""
        if not self.require(path="the path of a folder or manifest is needed", name="a name is needed"):
            return None
        return self.read(DatasetRequest, {"path": self["path"].strip(), "name": self["name"].strip()})


def attempt(form: Form, action: Callable[[], str]) -> str | None:
    """The id that `action` answers with; None, with the form's problems, where the service refuses the request."""
    try:
        return action()
    except (InvalidRequestError, NameTakenError, PathForbiddenError) as error:
        form.refuse(error)
        return None


def sentence(problem: Problem) -> str:
    """A problem without the field's name, which stands beside it."""
    return f"{problem.rule}; got {problem.value!r}"


def _without_field(message: str) -> str:
    """The message without a leading `field: `."""
    head, separator, rest = message.partition(": ")
    return rest if separator and head.replace("_", "").isalpha() else message
