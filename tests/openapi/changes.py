"""Finds what in a newer OpenAPI document would break a client of the older one.

What a client may send must stay accepted, so every schema of a request must be within the newer one; what it is told
to expect must stay true, so every newer schema of an answer must be within the older one. Two things are let pass
although a validator of the older document would notice: new fields of answers, and new error statuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = Mapping[str, Any]
Side = Literal["request", "answer"]

_METHODS = ("get", "put", "post", "patch", "delete")
#: Keywords that allow less the larger, or the smaller, their value is.
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def breaking_changes(old: Json, new: Json) -> list[str]:
    """One sentence for each, in the order of the older document's paths."""
    return list(dict.fromkeys(_Comparison(old, new).run()))


@dataclass
class _Comparison:
    """Two documents, and what was found in pairs of named schemas (which may hold one another)."""

    old: Json
    new: Json
    found: dict[tuple[str, str, Side], list[str]] = field(default_factory=dict)

    def run(self) -> Iterator[str]:
        for path, methods in self.old["paths"].items():
            found = self.new["paths"].get(path, {})
            for method in _METHODS:
                if method not in methods:
                    continue
                where = f"{method.upper()} {path}"
                if method not in found:
                    yield f"{where}: is gone"
                else:
                    yield from self._operation(methods[method], found[method], where)

    def _operation(self, old: Json, new: Json, where: str) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield f"{where}: is called {new['operationId']} in clients, was {old['operationId']}"
        yield from self._parameters(old, new, where)
        yield from self._body(old.get("requestBody"), new.get("requestBody"), where)
        for status, answer in old["responses"].items():
            if not status.startswith("2"):
                continue
            if status not in new["responses"]:
                yield f"{where}: no longer answers {status}"
            else:
                yield from self._answer(answer, new["responses"][status], f"{where} {status}")

    def _parameters(self, old: Json, new: Json, where: str) -> Iterator[str]:
        before, after = (
            {(one["in"], one["name"]): one for one in operation.get("parameters", ())} for operation in (old, new)
        )
        for (place, name), one in before.items():
            parameter = f"{where} {place} parameter {name}"
            if (place, name) not in after:
                yield f"{parameter}: is gone"
                continue
            if after[place, name].get("required") and not one.get("required"):
                yield f"{parameter}: is required now"
            yield from self._within(one["schema"], after[place, name]["schema"], parameter, "request")
        for (place, name), one in after.items():
            if (place, name) not in before and one.get("required"):
                yield f"{where} {place} parameter {name}: is new and required"

    def _body(self, old: Json | None, new: Json | None, where: str) -> Iterator[str]:
        if old is None:
            if new is not None and new.get("required"):
                yield f"{where}: needs a body now"
            return
        if new is None:
            yield f"{where}: takes no body any more"
            return
        if new.get("required") and not old.get("required"):
            yield f"{where}: needs its body now"
        for media, content in old["content"].items():
            if media not in new["content"]:
                yield f"{where}: no longer takes {media}"
            else:
                yield from self._within(content["schema"], new["content"][media]["schema"], f"{where} body", "request")

    def _answer(self, old: Json, new: Json, where: str) -> Iterator[str]:
        for header in old.get("headers", ()):
            if header not in new.get("headers", ()):
                yield f"{where}: header {header} is gone"
        for media, content in old.get("content", {}).items():
            found = new.get("content", {}).get(media)
            if found is None:
                yield f"{where}: no longer answers {media}"
            else:
                yield from self._within(found["schema"], content["schema"], f"{where} answer", "answer")

    def _within(self, inner: Json, outer: Json, where: str, side: Side) -> Iterator[str]:
        """What `inner` allows and `outer` does not; `inner` is a request's older schema, or an answer's newer one."""
        names = inner.get("$ref", ""), outer.get("$ref", "")
        if not all(names):
            yield from self._unnamed(inner, outer, where, side)
            return
        key = (*names, side)
        if key not in self.found:
            self.found[key] = []
            name = str(names[side == "answer"]).rpartition("/")[2]
            self.found[key] = list(self._unnamed(inner, outer, f"{name} in {side}s", side))
        yield from self.found[key]

    def _unnamed(self, inner: Json, outer: Json, where: str, side: Side) -> Iterator[str]:
        documents = (self.old, self.new) if side == "request" else (self.new, self.old)
        insides, outsides = (_alternatives(schema, doc) for schema, doc in zip((inner, outer), documents, strict=True))
        for inside in insides:
            fitting = [outside for outside in outsides if _fits(_kind(inside), _kind(outside))]
            if not fitting:
                kind = _kind(inside)
                yield f"{where}: no longer takes {kind}" if side == "request" else f"{where}: may be {kind} now"
                continue
            # Of several of one kind, such as two enums, one that holds it all is enough.
            attempts = [list(self._same_kind(inside, outside, where, side)) for outside in fitting]
            yield from min(attempts, key=len)

    def _same_kind(self, inner: Json, outer: Json, where: str, side: Side) -> Iterator[str]:
        yield from _values(inner, outer, where, side)
        if side == "request":
            yield from _bounds(inner, outer, where)
        if "items" in outer and "items" in inner:
            yield from self._within(inner["items"], outer["items"], f"{where}/*", side)
        if _kind(inner) == _kind(outer) == "object":
            yield from self._objects(inner, outer, where, side)

    def _objects(self, inner: Json, outer: Json, where: str, side: Side) -> Iterator[str]:
        inside, outside = inner.get("properties", {}), outer.get("properties", {})
        # A field that requests had must still be known; one that answers had must still come.
        before, after = (inside, outside) if side == "request" else (outside, inside)
        for name in before:
            if name not in after and not (side == "request" and _open(outer)):
                yield f"{where}/{name}: is gone"
        for name in outer.get("required", ()):
            if name not in inner.get("required", ()):
                if side == "request":
                    yield f"{where}/{name}: is required now"
                elif name in inside:
                    yield f"{where}/{name}: may be missing now"
        for name in inside:
            if name in outside:
                yield from self._within(inside[name], outside[name], f"{where}/{name}", side)
        if _open(inner) and not _open(outer):
            yield f"{where}: no longer takes other fields" if side == "request" else f"{where}: may have any field now"
        others = inner.get("additionalProperties"), outer.get("additionalProperties")
        if all(isinstance(other, Mapping) for other in others):
            yield from self._within(*others, f"{where}/*", side)  # type: ignore[arg-type]


def _alternatives(schema: Json, document: Json) -> list[Json]:
    """The schemas of which a value fits one, without references or unions."""
    if "$ref" in schema:
        return _alternatives(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    union: Sequence[Json] = schema.get("anyOf", ()) or schema.get("oneOf", ())
    if union:
        return [alternative for one in union for alternative in _alternatives(one, document)]
    kinds = schema.get("type")
    return [{**schema, "type": kind} for kind in kinds] if isinstance(kinds, list) else [schema]


def _kind(schema: Json) -> str:
    return str(schema.get("type", "anything"))


def _fits(inner: str, outer: str) -> bool:
    return outer in (inner, "anything") or (inner, outer) == ("integer", "number")


def _open(schema: Json) -> bool:
    """An object whose schema does not close it takes other fields; pydantic closes every document and request."""
    return schema.get("additionalProperties", True) is not False


def _values(inner: Json, outer: Json, where: str, side: Side) -> Iterator[str]:
    allowed = _enumerated(outer)
    if allowed is None:
        return
    found = _enumerated(inner)
    if found is None:
        listed = ", ".join(map(repr, allowed))
        yield f"{where}: takes only {listed} now" if side == "request" else f"{where}: is no longer one of {listed}"
        return
    for value in found:
        if value not in allowed:
            yield f"{where}: no longer takes {value!r}" if side == "request" else f"{where}: may be {value!r} now"


def _enumerated(schema: Json) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _bounds(inner: Json, outer: Json, where: str) -> Iterator[str]:
    for names, narrower in ((_LOWER_BOUNDS, 1), (_UPPER_BOUNDS, -1)):
        for name in names:
            if name in outer and (name not in inner or narrower * (outer[name] - inner[name]) > 0):
                yield f"{where}: {name} is {outer[name]} now, was {inner.get(name, 'none')}"
    for name in ("pattern", "format", "multipleOf"):
        if name in outer and outer[name] != inner.get(name):
            yield f"{where}: {name} is {outer[name]!r} now, was {inner.get(name)!r}"
