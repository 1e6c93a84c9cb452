#!/usr/bin/env bash
# Installs the command line, which needs no torch, into an environment of its own below RUNNER_TEMP.
set -euo pipefail

package=${SOFTVOTE_PACKAGE:-}
if [ -z "$package" ]; then
  # The runner has the whole repository of the action, at the version that the workflow names.
  package=$(cd "$GITHUB_ACTION_PATH/../.." && pwd)
fi
"${SOFTVOTE_PYTHON:-python3}" -m venv "$RUNNER_TEMP/softvote"
"$RUNNER_TEMP/softvote/bin/python" -m pip install --quiet --disable-pip-version-check "$package"
"$RUNNER_TEMP/softvote/bin/softvote" --version
