#!/bin/sh
# Builds the function app's package, and lays it open where azd (`dist` in azure.yaml) zips it again.
set -eu

package=dist/backout.zip
folder=dist/function-app

cargo run --release --locked -- package --out "$package"

rm -rf "$folder"
mkdir -p "$folder"
# Python keeps no file modes when it unpacks; `unzip` does, and the handler must stay executable.
unzip -q "$package" -d "$folder"
test -x "$folder/backout" || {
  echo "error: \`$folder/backout\` is not executable after unpacking \`$package\`" >&2
  exit 1
}
