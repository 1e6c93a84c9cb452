#!/usr/bin/env bash
# Judges what the environment asks for: SOFTVOTE_URL and the SOFTVOTE_GATE_* variables that action.yml fills in.
# The exit status is that of `softvote gate`: 0 pass, 1 fail, 3 inconclusive, 2 wrong usage, 4 nothing was judged.
set -uo pipefail

PATH="$RUNNER_TEMP/softvote/bin:$PATH"
softvote gate
status=$?
case $status in
  0) ;;
  1) echo "::error title=Softvote::The candidate is worse than the baseline." ;;
  3) echo "::error title=Softvote::Inconclusive: the images do not tell." ;;
  *) echo "::error title=Softvote::Nothing was judged (exit status $status)." ;;
esac
exit "$status"
