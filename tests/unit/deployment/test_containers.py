"""docker-compose.yml and Dockerfile, as far as they can be checked without an engine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli.main import main
from app.config import Settings
from app.errors import ConfigurationError

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OWN = [name for name in SERVICES if name not in ("db", "redis")]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_everything_that_runs_in_production_is_there() -> None:
    assert set(SERVICES) == {"db", "redis", "migrate", "web", "worker", "worker-gpu", "scheduler"}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]


@pytest.mark.parametrize("name", OWN)
def test_our_containers_are_built_here_unprivileged_and_read_only(name: str) -> None:
    service = SERVICES[name]
    assert service["build"]["target"] in ("web", "worker")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(
        volume.endswith(":ro") for volume in service["volumes"] if ":/data" in volume or ":/checkpoints" in volume
    )


@pytest.mark.parametrize("name", [name for name in OWN if "command" in SERVICES[name]])
def test_every_command_exists(name: str) -> None:
    program, command, *options = SERVICES[name]["command"]
    assert program == "softvote"
    known = {option for parameter in main.commands[command].params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known


def test_every_setting_is_documented_and_no_secret_has_a_default() -> None:
    documented = set(re.findall(r"`(SOFTVOTE_\w+)`", (ROOT / "docs/settings.md").read_text(encoding="utf-8")))
    for name in OWN:
        assert set(SERVICES[name]["environment"]) <= documented
        assert SERVICES[name]["environment"]["SOFTVOTE_SECRET_KEY"].startswith("${SOFTVOTE_SECRET_KEY:?")
    assert SERVICES["db"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for variable in re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")):
        assert f"{variable}=" in example


def test_people_log_in_and_a_server_that_listens_to_others_refuses_to_start_without() -> None:
    for name in OWN:
        assert SERVICES[name]["environment"]["SOFTVOTE_AUTH"] == "users"
    command = json.loads(re.findall(r"^CMD (\[.*gunicorn.*\])$", DOCKERFILE, re.MULTILINE)[0])
    told = dict(word.split("=", 1) for word in command if word.startswith("SOFTVOTE_"))
    assert told["SOFTVOTE_BIND"] == command[command.index("--bind") + 1]
    with pytest.raises(ConfigurationError, match="SOFTVOTE_AUTH"):
        Settings.from_environment(told)


def test_work_begins_after_the_migration_and_with_a_healthy_broker() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    for name in ("web", "worker", "worker-gpu", "scheduler"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert SERVICES[name]["depends_on"]["redis"] == {"condition": "service_healthy"}
    for name in ("db", "redis", "web"):
        assert SERVICES[name]["healthcheck"]["test"]


def test_the_dashboard_is_published_on_the_loopback_address_alone() -> None:
    assert SERVICES["web"]["ports"] == ["127.0.0.1:8080:8080"]


def test_both_images_run_without_root_and_only_the_worker_has_torch() -> None:
    stages = dict(re.findall(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL))
    assert set(stages) == {"base", "web", "worker"}
    for name in ("web", "worker"):
        assert "USER 10001" in stages[name]
    assert "[worker]" in stages["worker"]
    assert "[worker]" not in stages["web"]
    for folder in re.findall(r"^COPY (\w+) \w+$", stages["base"], re.MULTILINE):
        assert (ROOT / folder).is_dir()
