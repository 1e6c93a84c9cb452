"""What a program does with a token, to be copied: a shell, the command line, a GitHub workflow."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Snippet:
    """A named piece of text."""

    id: str
    title: str
    text: str


def of_tokens(url: str, *, with_token: bool) -> list[Snippet]:
    """Ways to use a token on the server at `url`, or to do without where nobody logs in."""
    return [
        Snippet("snippet-curl", "curl", _curl(url, with_token)),
        Snippet("snippet-cli", "Command line", _cli(url, with_token)),
        Snippet("snippet-github", "GitHub workflow", _github(url, with_token)),
    ]


def _curl(url: str, with_token: bool) -> str:
    header = '-H "Authorization: Bearer $SOFTVOTE_TOKEN" ' if with_token else ""
    return f"curl -fsS {header}{shlex.quote(f'{url}/api/v1/evaluations?limit=5')}"


def _cli(url: str, with_token: bool) -> str:
    token = "export SOFTVOTE_TOKEN=sv_…\n" if with_token else ""
    gate = "softvote gate --baseline production --candidate EVALUATION_ID --margin 0.5"
    return f"export SOFTVOTE_URL={shlex.quote(url)}\n{token}{gate}"


def _github(url: str, with_token: bool) -> str:
    secret = "          SOFTVOTE_TOKEN: ${{ secrets.SOFTVOTE_TOKEN }}\n" if with_token else ""
    header = '              -H "Authorization: Bearer $SOFTVOTE_TOKEN" \\\n' if with_token else ""
    return f"""\
jobs:
  gate:
    runs-on: ubuntu-latest
    steps:
      - name: Gate
        env:
          SOFTVOTE_URL: {url}
{secret}        run: |
          curl -fsS "$SOFTVOTE_URL/api/v1/gates" \\
{header}              -H "Content-Type: application/json" \\
              -d '{{"baseline": "production", "candidate": "EVALUATION_ID", "margin": 0.005}}' |
            jq -e '.verdict == "pass"'
"""
