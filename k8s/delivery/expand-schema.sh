#!/usr/bin/env bash
# Bring the database's schema up to IMAGE while the version before goes on running: expand-schema.sh IMAGE
#
# A version of the schema only adds to the one before, so whatever runs lives with it (docs/deploy.md).
#   NAMESPACE      default: go2cloud
#   WAIT_SECONDS   default: 600
set -euo pipefail
if [ "$#" -ne 1 ]; then
    echo "usage: $0 IMAGE" >&2
    exit 2
fi
image=$1
cd "$(dirname "$0")/../.."
NAMESPACE=${NAMESPACE:-go2cloud}

kube() {
    kubectl --namespace "$NAMESPACE" "$@"
}

# The Job, its account, policy and settings; no Deployment.
manifests=$(k8s/delivery/release.sh render schema "$image")
kube delete job go2cloud-schema --ignore-not-found
kube apply --filename - <<<"$manifests"
if ! kube wait --for condition=complete job/go2cloud-schema --timeout "${WAIT_SECONDS:-600}s"; then
    kube logs job/go2cloud-schema --tail 50 >&2 || true
    echo "the schema was not upgraded; what runs goes on with the one before" >&2
    exit 1
fi
