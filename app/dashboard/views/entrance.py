"""Log in, log out, and the set-up link of the first start."""

from __future__ import annotations

from flask import Response, flash, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.access.gate import LOGIN, caller
from app.access.rules import needs
from app.dashboard.access_forms import LoginForm, UserForm
from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.entrance import next_address
from app.dashboard.forms import attempt
from app.errors import RateLimitedError, WrongLoginError
from app.services.access import logins, setup_links


@blueprint.get("/login", endpoint="login")
@needs("public")
def login_page() -> ResponseReturnValue:
    """The form; whoever is in already goes on."""
    target = next_address(request.args.get("next"))
    if caller().kind != "anonymous":
        return redirect(target)
    return _login_form(LoginForm(MultiDict()), target, 200)


@blueprint.post("/login")
@needs("public")
def log_in() -> ResponseReturnValue:
    """Begin a session, a new one whatever was before."""
    form, target = LoginForm(request.form), next_address(request.form.get("next"))
    if caller().kind == "local":
        return redirect(target, 303)
    if not form.complete():
        return _login_form(form, target, 422)
    try:
        secret = logins.log_in(runtime().db, form["name"], form["password"], request.remote_addr or "")
    except (WrongLoginError, RateLimitedError) as error:
        form.add("name", str(error))
        limited = isinstance(error, RateLimitedError)
        response = _login_form(form, target, 429 if limited else 401)
        if isinstance(error, RateLimitedError):
            response.headers["Retry-After"] = str(error.retry_after)
        return response
    _enter(secret)
    return redirect(target, 303)


@blueprint.post("/logout", endpoint="log_out")
@needs("public")
def log_out() -> ResponseReturnValue:
    """End this session, here and in the database."""
    if caller().kind == "user":
        logins.log_out(runtime().db, caller())
    session.clear()
    return redirect(url_for("dashboard.login"), 303)


@blueprint.get("/setup/<secret>", endpoint="setup")
@needs("public")
def setup_page(secret: str) -> ResponseReturnValue:
    """The form of the first administrator."""
    setup_links.check(runtime().db, secret)
    return _private(render_template("dashboard/set_up.html", form=UserForm(MultiDict()), secret=secret), 200)


@blueprint.post("/setup/<secret>")
@needs("public")
def set_up(secret: str) -> ResponseReturnValue:
    """Make the first administrator, who is logged in by it."""
    form = UserForm(request.form)
    body = form.request(role="admin")
    login = body and attempt(form, lambda: setup_links.use(runtime().db, secret, body.name, body.password))
    if not login:
        setup_links.check(runtime().db, secret)
        return _private(render_template("dashboard/set_up.html", form=form, secret=secret), 422)
    _enter(login)
    flash("You are the first administrator. Add the others under Users.", "good")
    return redirect(url_for("dashboard.users"), 303)


def _enter(secret: str) -> None:
    """Begin with an empty cookie: nothing that was planted before the login lives on."""
    if caller().kind == "user":
        logins.log_out(runtime().db, caller())
    session.clear()
    session[LOGIN] = secret


def _login_form(form: LoginForm, target: str, status: int) -> Response:
    return _private(render_template("dashboard/login.html", form=form, target=target), status)


def _private(body: str, status: int) -> Response:
    response = make_response(body, status)
    response.headers["Cache-Control"] = "no-store"
    return response
