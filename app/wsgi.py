"""The WSGI application for servers such as gunicorn (`app.wsgi:application`), configured by the environment."""

from __future__ import annotations

import sys

from app.access import first_start
from app.factory import create_app
from app.runtime import build_runtime

_runtime = build_runtime()
application = create_app(_runtime)
if found := first_start.notice(_runtime):
    sys.stderr.write(f"{found}\n")
