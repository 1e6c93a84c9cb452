"""The OpenAPI document that clients were made from, `docs/openapi.json`, and the command that writes it anew.

    python -m tests.openapi.golden [--breaking]

It refuses to write a document that would break clients of the present one, unless told that this is meant.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

from app.factory import create_app
from tests.app_builders import make_runtime
from tests.openapi.changes import breaking_changes

GOLDEN = Path(__file__).parents[2] / "docs" / "openapi.json"


def main() -> int:
    """Compare, then write; 1 where that would break clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--breaking", action="store_true", help="write it although clients of the present one break")
    allowed = parser.parse_args().breaking
    document = served()
    broken = breaking_changes(golden(), document) if GOLDEN.exists() else []
    for change in broken:
        sys.stderr.write(f"breaks clients: {change}\n")
    if broken and not allowed:
        sys.stderr.write(f"{GOLDEN.name} stays as it was; make openapi BREAKING=1 writes it all the same\n")
        return 1
    GOLDEN.write_text(text_of(document), encoding="utf-8")
    sys.stdout.write(f"{GOLDEN.name}: {sum(map(len, document['paths'].values()))} operations\n")
    return 0


def golden() -> dict[str, Any]:
    """The document in the repository."""
    return cast("dict[str, Any]", json.loads(GOLDEN.read_text(encoding="utf-8")))


def served() -> dict[str, Any]:
    """The document that this source tree serves."""
    with tempfile.TemporaryDirectory() as home:
        runtime = make_runtime(Path(home) / "home")
        document = create_app(runtime).api_doc
        runtime.db.dispose()
    return cast("dict[str, Any]", json.loads(json.dumps(document)))


def text_of(document: dict[str, Any]) -> str:
    """In one fixed order, so that a difference in version control is a difference in meaning."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
