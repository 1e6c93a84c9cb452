"""A service with a history behind real pages, and a browser-like client that keeps cookies and form tokens."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.factory import create_app
from app.runtime import Runtime
from ensembles.configurations import Architecture
from tests.app_builders import make_runtime
from tests.history import History

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Browser:
    """Opens pages, and posts forms with the token that the page of the form holds."""

    client: FlaskClient

    def open(self, path: str, status: int = 200) -> str:
        """The page's HTML."""
        response = self.client.get(path)
        assert response.status_code == status, response.get_data(as_text=True)
        return response.get_data(as_text=True)

    def post(self, form_page: str, action: str, **fields: str | list[str]) -> TestResponse:
        """Send a form as it stands on `form_page`."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.open(form_page))
        assert token, f"{form_page} has no form token"
        return self.client.post(action, data={"csrf_token": token[1], **fields})


@pytest.fixture(scope="session")
def migrated_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database is at head; copying it is quicker than migrating anew."""
    home = tmp_path_factory.mktemp("migrated") / "home"
    make_runtime(home).db.dispose()
    return home


@pytest.fixture
def runtime(migrated_home: Path, tmp_path: Path) -> Iterator[Runtime]:
    home = tmp_path / "home"
    shutil.copytree(migrated_home, home)
    runtime = make_runtime(home)
    yield runtime
    runtime.db.dispose()


@pytest.fixture
def history(runtime: Runtime) -> History:
    return History(runtime, macs_per_second=1e15)


@pytest.fixture
def browser(runtime: Runtime) -> Browser:
    client = create_app(runtime).test_client()
    client.environ_base["HTTP_ACCEPT"] = "text/html"
    return Browser(client)


def vgg(configuration: str, classes: int = 10) -> Architecture:
    """A narrow network with crop 32."""
    return Architecture(configuration, width=0.125, classes=classes, crop=32)


@pytest.fixture
def digits(history: History) -> History:
    """A data set of 1,797 images and three checkpoints that fit it."""
    history.dataset("digits", images=1797, classes=DIGITS)
    history.checkpoint("digits-a", vgg("A"), (32, 32))
    history.checkpoint("digits-d", vgg("D"), (32, 48), tags=["demo", "jitter"], notes="Second seed.")
    history.checkpoint("digits-e", vgg("E"), (32, 48))
    return history


@pytest.fixture
def ensemble(digits: History) -> str:
    """A finished evaluation of two checkpoints, dense and multi-crop at three scales; its id."""
    key = digits.submit(dataset="digits", checkpoints=["digits-d", "digits-e"], protocol="vgg-multi-scale-both")
    digits.predict()
    digits.finish(key, [152, 128, 141, 149, 131, 138, 149, 133, 137, 140, 129, 142, 124, 126, 127, 122, 119, 121, 104])
    return key
