"""Settings: every problem at once, secrets hidden, every variable documented."""

import re
from pathlib import Path

import pytest

from app.config import Settings
from app.errors import ConfigurationError

ROOT = Path(__file__).parents[3]


def test_the_embedded_default_lives_below_the_home_folder(tmp_path: Path) -> None:
    settings = Settings.from_environment({"SOFTVOTE_HOME": str(tmp_path)})
    assert settings.database_url == f"sqlite:///{tmp_path}/softvote.db"
    assert settings.artifacts == tmp_path / "artifacts"
    assert settings.embedded_broker
    assert settings.sqlite


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment(
            {
                "SOFTVOTE_DATABASE_URL": "mysql://root:hunter2@db/x",
                "SOFTVOTE_BROKER_URL": "amqp://x",
                "SOFTVOTE_BIND": "0.0.0.0:8080",
                "SOFTVOTE_SECRET_KEY": "short-but-secret",
                "SOFTVOTE_URL": "ftp://x",
            }
        )
    assert {p.field for p in caught.value.problems} == {
        "SOFTVOTE_DATABASE_URL",
        "SOFTVOTE_BROKER_URL",
        "SOFTVOTE_BIND",
        "SOFTVOTE_SECRET_KEY",
        "SOFTVOTE_URL",
    }
    assert "hunter2" not in str(caught.value)
    assert "short-but-secret" not in str(caught.value)


@pytest.mark.parametrize("bind", ["0.0.0.0:80", "192.168.1.5:8080", "[::]:80", "127.0.0.1", "127.0.0.1:99999"])
def test_an_address_that_others_can_reach_is_refused_while_nobody_logs_in(bind: str) -> None:
    with pytest.raises(ConfigurationError):
        Settings.from_environment({"SOFTVOTE_BIND": bind})


def test_printed_settings_hide_every_secret() -> None:
    settings = Settings.from_environment(
        {
            "SOFTVOTE_DATABASE_URL": "postgresql+psycopg://ann:pa55@db/softvote",
            "SOFTVOTE_BROKER_URL": "redis://:r3dis@cache:6379/0",
            "SOFTVOTE_SECRET_KEY": "k" * 40,
            "SOFTVOTE_TOKEN": "sv_token",
        }
    )
    shown = " ".join(settings.redacted().values())
    assert "ann:***@db/softvote" in shown
    for secret in ("pa55", "r3dis", "k" * 40, "sv_token"):
        assert secret not in shown


def test_every_variable_that_the_code_reads_is_documented() -> None:
    source = (ROOT / "app/config.py").read_text()
    read = set(re.findall(r'env\.get\("(SOFTVOTE_\w+)"', source))
    documented = set(re.findall(r"^\| `(SOFTVOTE_\w+)`", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))
    assert read
    assert read == documented


def test_webhooks_call_no_private_address_and_no_http_unless_told_to() -> None:
    plain = Settings.from_environment({})
    assert (plain.webhook_allow_private, plain.webhook_allow_http) == (False, False)
    opened = Settings.from_environment({"SOFTVOTE_WEBHOOK_ALLOW_PRIVATE": "1", "SOFTVOTE_WEBHOOK_ALLOW_HTTP": "0"})
    assert (opened.webhook_allow_private, opened.webhook_allow_http) == (True, False)
    with pytest.raises(ConfigurationError, match="SOFTVOTE_WEBHOOK_ALLOW_HTTP: 0 or 1; got 'yes'"):
        Settings.from_environment({"SOFTVOTE_WEBHOOK_ALLOW_HTTP": "yes"})


def test_an_address_that_others_can_reach_needs_people_who_log_in_and_a_name(tmp_path: Path) -> None:
    reachable = {"SOFTVOTE_BIND": "0.0.0.0:8080", "SOFTVOTE_AUTH": "users"}
    with pytest.raises(ConfigurationError, match="SOFTVOTE_PUBLIC_URL"):
        Settings.from_environment(reachable)
    settings = Settings.from_environment({**reachable, "SOFTVOTE_PUBLIC_URL": "https://sv.example http://sv:8080/"})
    assert settings.public_url == "https://sv.example"
    assert set(settings.hosts) == {"127.0.0.1", "localhost", "::1", "sv.example", "sv"}


def test_without_a_login_only_this_machine_is_answered_whatever_name_was_given() -> None:
    assert set(Settings.from_environment({"SOFTVOTE_PUBLIC_URL": "https://sv.example"}).hosts) == {
        "127.0.0.1",
        "localhost",
        "::1",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SOFTVOTE_AUTH", "none"),
        ("SOFTVOTE_PUBLIC_URL", "sv.example"),
        ("SOFTVOTE_PUBLIC_URL", "ftp://sv.example"),
        ("SOFTVOTE_PUBLIC_URL", "https://sv.example/path"),
        ("SOFTVOTE_PUBLIC_URL", "https://ann:secret@sv.example"),
        ("SOFTVOTE_PUBLIC_URL", "https://[::1"),
        ("SOFTVOTE_PROXIES", "many"),
        ("SOFTVOTE_PROXIES", "-1"),
        ("SOFTVOTE_PROXIES", "99"),
    ],
)
def test_a_setting_of_access_that_cannot_be_meant_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        Settings.from_environment({"SOFTVOTE_AUTH": "users", name: value})
    assert "secret" not in str(caught.value)


def test_nobody_speaks_for_others_where_nobody_logs_in() -> None:
    with pytest.raises(ConfigurationError, match="proxies speak for others"):
        Settings.from_environment({"SOFTVOTE_PROXIES": "1"})
