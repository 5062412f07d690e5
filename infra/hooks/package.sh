#!/bin/sh
# Builds the function app's package, and lays it open where azd (`dist` in azure.yaml) zips it again.
set -eu

package=dist/backout.zip
folder=dist/function-app

# Linked against an old glibc: a plan's image may have an older one than this machine.
if ! command -v cargo-zigbuild >/dev/null; then
  python3 -m venv target/zig
  target/zig/bin/pip install --quiet --disable-pip-version-check ziglang==0.17.1 cargo-zigbuild==0.24.1
  PATH="$PWD/target/zig/bin:$PATH"
fi
cargo zigbuild --release --locked --bin backout --target x86_64-unknown-linux-gnu.2.28
program=target/x86_64-unknown-linux-gnu/release/backout

mkdir -p dist
"$program" package --binary "$program" --out "$package"

rm -rf "$folder"
mkdir -p "$folder"
# Python keeps no file modes when it unpacks; `unzip` does, and the handler must stay executable.
unzip -q "$package" -d "$folder"
test -x "$folder/backout" || {
  echo "error: \`$folder/backout\` is not executable after unpacking \`$package\`" >&2
  exit 1
}
