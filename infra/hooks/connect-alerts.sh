#!/bin/sh
# The action group needs a key that only a running host hands out, so it is made in a second pass, after the code is there.
# From then on every `azd provision` makes it.
set -eu

if [ "${BACKOUT_CODE_IS_DEPLOYED:-false}" = true ]; then
  exit 0
fi
azd env set BACKOUT_CODE_IS_DEPLOYED true
azd provision --no-prompt
