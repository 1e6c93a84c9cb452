"""Which scope a route needs: by its method, unless its view says otherwise. A route without a rule is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from flask import Blueprint, Flask

from app.representations.access import Scope

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

PUBLIC: Literal["public"] = "public"
Need = Scope | Literal["public"]

_NEED = "_softvote_need"
_BY_METHOD = "_softvote_by_method"

View = TypeVar("View", bound=Callable[..., Any])
AnyBlueprint = TypeVar("AnyBlueprint", bound=Blueprint)


def by_method(blueprint: AnyBlueprint) -> AnyBlueprint:
    """Give the routes of a blueprint the default rule: what only reads needs `read`, everything else `run`."""
    setattr(blueprint, _BY_METHOD, True)
    return blueprint


def needs(need: Literal["read", "run", "admin", "public"]) -> Callable[[View], View]:
    """The rule of one view, in place of its blueprint's; stands nearest to the function."""

    def marked(view: View) -> View:
        setattr(view, _NEED, PUBLIC if need == PUBLIC else Scope(need))
        return view

    return marked


def need_of(app: Flask, endpoint: str, method: str) -> Need | None:
    """What a request to an endpoint needs; None where nobody has said."""
    stated: Need | None = getattr(app.view_functions[endpoint], _NEED, None)
    if stated is not None:
        return stated
    blueprint = app.blueprints.get(endpoint.rpartition(".")[0])
    if blueprint is None:
        return None
    if endpoint == f"{blueprint.name}.static":
        return PUBLIC
    if not getattr(blueprint, _BY_METHOD, False):
        return None
    return Scope.READ if method in SAFE_METHODS else Scope.RUN
