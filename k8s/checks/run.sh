#!/usr/bin/env bash
# Run check.py unless what it looks at is as it was when it last passed: run.sh TOOLS [--always]
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$1
stamp=$tools.passed

state() {
    find k8s Dockerfile entrypoint.sh .gitlab-ci.yml Jenkinsfile -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum
}

if [ "${2:-}" != --always ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(state)" ]; then
    exit 0
fi
UV=${UV:-uv} k8s/checks/tools.sh "$tools"
"$tools/bin/python" k8s/checks/check.py
state >"$stamp"
