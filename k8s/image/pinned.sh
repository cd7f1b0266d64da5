#!/usr/bin/env bash
# Whether an image is named by version and digest, REPOSITORY:TAG@sha256:DIGEST, so that it is the very same one each
# time: pinned.sh IMAGE. Delivered images are built on such a base only.
set -euo pipefail
if [ "$#" -ne 1 ]; then
    echo "usage: $0 IMAGE" >&2
    exit 2
fi
if ! grep -Eqx '[^@[:space:]]+:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}@sha256:[0-9a-f]{64}' <<<"$1"; then
    echo "the base image is to be named REPOSITORY:TAG@sha256:DIGEST, not '$1': put its digest, as printed by" >&2
    echo "  skopeo inspect --no-tags --format '{{.Digest}}' docker://${1%%@*}" >&2
    echo "into the variable BASE_DIGEST of the project (docs/deploy.md, part Delivery)" >&2
    exit 1
fi
