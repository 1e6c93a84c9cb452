"""Tokens of programs, and what a program does with one."""

from __future__ import annotations

from flask import flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.access.gate import caller
from app.access.rules import needs
from app.dashboard import snippets
from app.dashboard.access_forms import TokenForm
from app.dashboard.blueprint import blueprint, runtime
from app.db.queries import access as queries
from app.errors import InvalidRequestError, NotFoundError
from app.representations.access import Scope
from app.services.access import tokens as service

#: Choices of the form; over REST and on the command line any number of days up to a year.
VALID_DAYS = (7, 30, 90, 366)


@blueprint.get("/tokens", endpoint="tokens")
def list_tokens() -> str:
    """One's own tokens, for an admin everybody's; and the form for one more."""
    return _page(_new_form())


@blueprint.post("/tokens", endpoint="create_token")
@needs("read")
def create_token() -> ResponseReturnValue:
    """Make a token and show it, this once."""
    form = TokenForm(request.form)
    body = form.request()
    if body:
        try:
            key, text = service.create(runtime().db, body, caller())
        except (InvalidRequestError, NotFoundError) as error:
            form.refuse(error)
        else:
            response = make_response(_page(_new_form(), made=text, made_id=key), 201)
            response.headers["Cache-Control"] = "no-store"
            return response
    return _page(form), 422


@blueprint.post("/tokens/<token_id>/revoke", endpoint="revoke_token")
@needs("read")
def revoke_token(token_id: str) -> ResponseReturnValue:
    """End a token for good."""
    service.revoke(runtime().db, token_id, caller())
    flash("Revoked. Whoever shows it is refused from now on.", "good")
    return redirect(url_for("dashboard.tokens"), 303)


def _new_form() -> TokenForm:
    return TokenForm(MultiDict({"scopes": "read"}))


def _page(form: TokenForm, *, made: str | None = None, made_id: str | None = None) -> str:
    is_admin = Scope.ADMIN in caller().scopes
    with runtime().db.read() as session:
        tokens = queries.tokens(session, None if is_admin else caller().user_id)
        users = [user for user in queries.users(session) if not user.disabled] if is_admin else []
    return render_template(
        "dashboard/tokens.html",
        form=form,
        made=made,
        tokens=sorted(tokens, key=lambda token: token.state != "active"),
        made_id=made_id,
        users=users,
        scopes=[scope for scope in Scope if scope in caller().scopes],
        valid_days=VALID_DAYS,
        snippets=snippets.of_tokens(runtime().settings.public_url, with_token=runtime().settings.auth != "local"),
    )
