"""Users: who may come in, and what each may do."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.access.gate import caller
from app.access.rules import needs
from app.dashboard.access_forms import UserChangeForm, UserForm
from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.forms import attempt
from app.db.queries import access as queries
from app.errors import LastAdminError
from app.representations.access import Role
from app.services.access import users as service


@blueprint.get("/users", endpoint="users")
@needs("admin")
def list_users() -> str:
    """Everybody, and the form for one more."""
    return _list(UserForm(MultiDict()))


@blueprint.post("/users", endpoint="create_user")
@needs("admin")
def create_user() -> ResponseReturnValue:
    """Make a user."""
    form = UserForm(request.form)
    body = form.request()
    if not (body and attempt(form, lambda: service.create(runtime().db, body, caller()))):
        return _list(form), 422
    flash(f"{body.name} can log in now.", "good")
    return redirect(url_for("dashboard.users"), 303)


@blueprint.get("/users/<key>", endpoint="user")
@needs("admin")
def show_user(key: str) -> str:
    """One user: role, access, password, tokens."""
    return _one(key, UserChangeForm(MultiDict()))


@blueprint.post("/users/<key>", endpoint="change_user")
@needs("admin")
def change_user(key: str) -> ResponseReturnValue:
    """Change one thing about a user."""
    form = UserChangeForm(request.form)
    patch = form.request()
    try:
        found = patch and attempt(form, lambda: service.change(runtime().db, key, patch, caller()))
    except LastAdminError as error:
        form.add("role" if patch and patch.role else "disabled", str(error))
        found = None
    if not found:
        return _one(key, form), 422
    flash("Saved.", "good")
    return redirect(url_for("dashboard.user", key=found), 303)


def _list(form: UserForm) -> str:
    with runtime().db.read() as session:
        return render_template("dashboard/users.html", users=queries.users(session), form=form, roles=list(Role))


def _one(key: str, form: UserChangeForm) -> str:
    with runtime().db.read() as session:
        user = queries.user(session, service.find(session, key).id)
        tokens = queries.tokens(session, user.id)
    return render_template("dashboard/user.html", user=user, tokens=tokens, form=form, roles=list(Role))
