"""One's own account."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.access.gate import caller
from app.access.rules import needs
from app.dashboard.access_forms import NewPasswordForm
from app.dashboard.blueprint import blueprint, runtime
from app.errors import InvalidRequestError, RateLimitedError, WrongLoginError
from app.services.access import users as service


@blueprint.get("/account", endpoint="account")
def show_account() -> ResponseReturnValue:
    """Who one is, what one may, and the form for another password."""
    if caller().kind == "local":
        return redirect(url_for("dashboard.overview"))
    return render_template("dashboard/account.html", form=NewPasswordForm(MultiDict()))


@blueprint.post("/account", endpoint="change_password")
@needs("read")
def change_password() -> ResponseReturnValue:
    """Give oneself another password; every session ends, and one logs in anew."""
    if caller().kind == "local":
        return redirect(url_for("dashboard.overview"), 303)
    form = NewPasswordForm(request.form)
    if form.complete(asks_present=True):
        try:
            service.change_own_password(runtime().db, caller(), form["password"], form["new_password"])
        except WrongLoginError:
            form.add("password", "this is not your present password")
        except RateLimitedError as error:
            form.add("password", str(error))
        except InvalidRequestError as error:
            form.refuse(error)
    if form.problems:
        return render_template("dashboard/account.html", form=form), 422
    session.clear()
    flash("Your password is changed, and every session has ended. Log in with the new one.", "good")
    return redirect(url_for("dashboard.login"), 303)
