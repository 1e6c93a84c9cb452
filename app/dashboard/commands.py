"""The request of a form as commands for a shell, so that what was clicked together can be repeated by a script."""

from __future__ import annotations

import json
import shlex

from app.representations.base import Request
from app.representations.requests import EvaluationRequest


def curl_command(
    request: Request, base_url: str, path: str = "/api/v1/evaluations", *, with_token: bool = False
) -> str:
    """The request over REST; `base_url` without a trailing slash, a token from the environment where one is needed."""
    token = ('-H "Authorization: Bearer $SOFTVOTE_TOKEN"',) if with_token else ()
    body = json.dumps(request.model_dump(exclude_defaults=True), ensure_ascii=False)
    return " \\\n  ".join(
        (
            f"curl -X POST {shlex.quote(base_url + path)}",
            *token,
            "-H 'Content-Type: application/json'",
            f"-d {shlex.quote(body)}",
        )
    )


def cli_command(request: EvaluationRequest) -> str:
    """The request for `softvote evaluate`; a protocol that is no preset goes through a file, written first."""
    words = [f"softvote evaluate --dataset {shlex.quote(request.dataset)}"]
    words += [f"--checkpoint {shlex.quote(str(checkpoint))}" for checkpoint in request.checkpoints]
    before = ""
    if request.ensemble is not None:
        words.append(f"--ensemble {shlex.quote(request.ensemble)}")
    elif isinstance(request.protocol, str):
        words.append(f"--protocol {shlex.quote(request.protocol)}")
    else:
        before = f"echo {shlex.quote(json.dumps(request.protocol))} > protocol.json\n"
        words.append("--protocol protocol.json")
    words += [f"--weight {weight:g}" for weight in request.fusion.weights or ()]
    if request.fusion.rule != "mean":
        words.append(f"--fusion {shlex.quote(request.fusion.rule)}")
    if request.fusion.temperature is not None:
        words.append(f"--temperature {request.fusion.temperature:g}")
    if request.limit is not None:
        words.append(f"--limit {request.limit}")
    if request.force:
        words.append("--force")
    if request.priority != EvaluationRequest.model_fields["priority"].default:
        words.append(f"--priority {request.priority}")
    if request.unreadable != "fail":
        words.append(f"--unreadable {request.unreadable}")
    return before + " \\\n  ".join([*words, "--wait"])
