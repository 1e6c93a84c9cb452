"""A gate as commands for a shell and as a policy, so that what was asked on a page can be asked by CI."""

from __future__ import annotations

import json
import shlex

from app.representations.gates import SHORT_METRICS, GateRequest


def gate_command(request: GateRequest) -> str:
    """A gate for `softvote gate`."""
    words = [
        f"softvote gate --baseline {shlex.quote(request.baseline)}",
        f"--candidate {shlex.quote(request.candidate)}",
        f"--metric {short_metric(request)} --margin {margin(request):g}",
    ]
    if request.alpha != GateRequest.model_fields["alpha"].default:
        words.append(f"--alpha {request.alpha:g}")
    words += [f"--class {shlex.quote(name)}" for name in request.classes or ()]
    return " \\\n  ".join(words)


def gate_policy(request: GateRequest) -> str:
    """A gate for a policy file; the candidate comes from the command line."""
    # A basic string of TOML is one of JSON where nothing but quotes, backslashes and controls is escaped.
    lines = ["[[gates]]", f"baseline = {json.dumps(request.baseline, ensure_ascii=False)}"]
    lines += [f'metric = "{short_metric(request)}"', f"margin = {margin(request):g}"]
    if request.alpha != GateRequest.model_fields["alpha"].default:
        lines.append(f"alpha = {request.alpha:g}")
    if request.classes:
        lines.append(f"classes = {json.dumps(request.classes, ensure_ascii=False)}")
    return "\n".join(lines)


def short_metric(request: GateRequest) -> str:
    """A gate's metric as people say it."""
    return next(short for short, metric in SHORT_METRICS.items() if metric == request.metric)


def margin(request: GateRequest) -> float:
    """A gate's margin as people say it: points of error, nats for nll."""
    return request.margin if request.metric == "nll" else round(100 * request.margin, 9)
