"""`softvote user` and `softvote token`: who may come in, and credentials for programs."""

from __future__ import annotations

import sys
from typing import cast

import click

from app.cli.context import backend
from app.cli.output import json_option, named_errors, print_json, print_table
from app.representations.access import (
    DEFAULT_TOKEN_DAYS,
    MAX_TOKEN_DAYS,
    Role,
    RoleName,
    Scope,
    ScopeName,
    TokenRequest,
    UserPatch,
    UserRequest,
)

_from_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input, as scripts do."
)


@click.group()
def user() -> None:
    """People who log in where SOFTVOTE_AUTH=users."""


@user.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="viewer", show_default=True)
@_from_stdin
@json_option
@named_errors
def create_user(name: str, role: str, password_stdin: bool, as_json: bool) -> None:
    """Make a user, whose password is asked for. The first one must be an admin."""
    request = UserRequest(name=name, role=cast("RoleName", role), password=_password(password_stdin))
    made = backend().add_user(request)
    if as_json:
        print_json(made)
    else:
        click.echo(f"{made['name']} can log in now, as {made['role']}")


@user.command("ls")
@json_option
@named_errors
def list_users(as_json: bool) -> None:
    """Everybody."""
    users = backend().users()
    if as_json:
        print_json(users)
        return
    rows = [(u["name"], u["role"], "disabled" if u["disabled"] else "", u["last_login_at"] or "never") for u in users]
    print_table(("user", "role", "access", "last login"), rows)


@user.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@named_errors
def change_role(name: str, role: str) -> None:
    """Give a user another role; it holds from the next request."""
    changed = backend().change_user(name, UserPatch(role=cast("RoleName", role)))
    click.echo(f"{changed['name']} is {changed['role']}")


@user.command("disable")
@click.argument("name")
@named_errors
def disable_user(name: str) -> None:
    """Shut a user out: every session ends, no token works."""
    click.echo(f"{backend().change_user(name, UserPatch(disabled=True))['name']} is disabled")


@user.command("enable")
@click.argument("name")
@named_errors
def enable_user(name: str) -> None:
    """Let a disabled user in again."""
    click.echo(f"{backend().change_user(name, UserPatch(disabled=False))['name']} can log in again")


@user.command("password")
@click.argument("name")
@_from_stdin
@named_errors
def set_password(name: str, password_stdin: bool) -> None:
    """Give a user a new password, which is asked for; every session of theirs ends."""
    changed = backend().change_user(name, UserPatch(password=_password(password_stdin)))
    click.echo(f"the password of {changed['name']} is changed")


@click.group()
def token() -> None:
    """Credentials of programs."""


@token.command("create")
@click.argument("name")
@click.option("--user", "owner", help="Its owner; by default whoever SOFTVOTE_TOKEN belongs to.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=("read",),
    show_default=True,
    help="May repeat; none implies another.",
)
@click.option("--days", type=click.IntRange(1, MAX_TOKEN_DAYS), default=DEFAULT_TOKEN_DAYS, show_default=True)
@json_option
@named_errors
def create_token(name: str, owner: str | None, scopes: tuple[str, ...], days: int, as_json: bool) -> None:
    """Make a token. Its text is printed this once, alone on standard output."""
    wanted = cast("list[ScopeName]", list(scopes))
    made = backend().create_token(TokenRequest(name=name, user=owner, scopes=wanted, expires_in_days=days))
    if as_json:
        print_json(made)
        return
    click.echo(made["token"])
    click.echo(f"Not shown again. It may {', '.join(made['scopes'])}, until {made['expires_at'][:10]}.", err=True)


@token.command("ls")
@json_option
@named_errors
def list_tokens(as_json: bool) -> None:
    """Tokens, without their secrets: one's own, for an admin and at the machine everybody's."""
    tokens = backend().tokens()
    if as_json:
        print_json(tokens)
        return
    rows = [
        (
            t["id"],
            t["name"],
            t["user"],
            ", ".join(t["scopes"]),
            t["state"],
            t["last_used_at"] or "never",
            t["expires_at"][:10],
        )
        for t in tokens
    ]
    print_table(("id", "token", "owner", "may", "state", "last use", "expires"), rows)


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@named_errors
def revoke_token(token_id: str) -> None:
    """End a token for good; ID is the eight characters after `sv_`."""
    backend().revoke_token(token_id)
    click.echo(f"{token_id} is revoked")


def _password(from_stdin: bool) -> str:
    """Never an argument: those stand in the shell's history and in the list of processes."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    found: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return found


def register(group: click.Group) -> None:
    """Add these commands."""
    group.add_command(user)
    group.add_command(token)
