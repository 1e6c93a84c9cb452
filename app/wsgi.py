"""The WSGI application for servers such as gunicorn (`app.wsgi:application`), configured by the environment."""

from __future__ import annotations

from app.factory import create_app
from app.runtime import build_runtime

application = create_app(build_runtime())
