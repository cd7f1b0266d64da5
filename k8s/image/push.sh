#!/usr/bin/env bash
# Push an image of build.sh to a registry: push.sh IMAGE DESTINATION; prints DESTINATION@DIGEST.
#
#   REGISTRY_USER, REGISTRY_PASSWORD   the login; without them, buildah's own is used
set -euo pipefail
if [ "$#" -ne 2 ]; then
    echo "usage: $0 IMAGE DESTINATION" >&2
    exit 2
fi
image=$1
destination=$2
cd "$(dirname "$0")/../.."
# shellcheck source=k8s/image/containers.sh
. k8s/image/containers.sh

digest=$(mktemp)
trap 'rm -f "$digest"' EXIT
if [ -n "${REGISTRY_USER:-}" ]; then
    buildah login --username "$REGISTRY_USER" --password-stdin "${destination%%/*}" <<<"$REGISTRY_PASSWORD" >&2
fi
buildah push --quiet --digestfile "$digest" "$image" "docker://$destination"
echo "$destination@$(cat "$digest")"
