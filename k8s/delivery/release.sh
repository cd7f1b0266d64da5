#!/usr/bin/env bash
# Bring a version to a cluster, try it on a part of the requests, take it back. GitLab and Jenkins call this; so may you.
#
#   release.sh render OVERLAY IMAGE     print what would be applied
#   release.sh deploy OVERLAY IMAGE     schema and pods; taken back by itself if they do not come up
#   release.sh canary IMAGE [PERCENT]   one pod of each role of IMAGE beside production, with PERCENT of the requests (10)
#   release.sh weight PERCENT           send the canary so much
#   release.sh end-canary               take it away
#   release.sh rollback                 every Deployment to its revision before
#
# OVERLAY is a folder of k8s/overlays. IMAGE is REPOSITORY:TAG or REPOSITORY@sha256:DIGEST.
#   NAMESPACE      default: go2cloud
#   WAIT_SECONDS   how long pods may take to come up (default: 600)
set -euo pipefail
cd "$(dirname "$0")/../.."
NAMESPACE=${NAMESPACE:-go2cloud}
WAIT_SECONDS=${WAIT_SECONDS:-600}
ROLES=(platform api agent)

usage() {
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

kube() {
    kubectl --namespace "$NAMESPACE" "$@"
}

# The overlay with the image put in, made in a folder beside the overlays and taken away again.
render() {
    local overlay=$1 image=$2 folder status=0
    [ -f "k8s/overlays/$overlay/kustomization.yaml" ] || usage
    folder=$(mktemp -d k8s/overlays/release-XXXXXX)
    {
        echo "resources: [../$overlay]"
        echo "images:"
        for name in go2cloud harbor.example.org/go2cloud/go2cloud; do
            case "$image" in
            *@sha256:*) echo "  - {name: $name, newName: ${image%@*}, digest: ${image#*@}}" ;;
            *) echo "  - {name: $name, newName: ${image%:*}, newTag: \"${image##*:}\"}" ;;
            esac
        done
    } >"$folder/kustomization.yaml"
    kubectl kustomize "$folder" || status=$?
    rm -r "$folder"
    return "$status"
}

rollout() {
    local suffix=$1 role
    for role in "${ROLES[@]}"; do
        kube rollout status "deployment/go2cloud-$role$suffix" --timeout "${WAIT_SECONDS}s" || return 1
    done
}

rollback() {
    local role
    for role in "${ROLES[@]}"; do
        kube rollout undo "deployment/go2cloud-$role"
    done
    rollout ""
}

# New pods of api and agent start once the schema is current, and the old ones serve until then.
deploy() {
    local manifests
    manifests=$(render "$1" "$2")
    kube delete job go2cloud-schema --ignore-not-found
    kube apply --filename - <<<"$manifests"
    if ! kube wait --for condition=complete job/go2cloud-schema --timeout "${WAIT_SECONDS}s"; then
        kube logs job/go2cloud-schema --tail 50 >&2 || true
        echo "the schema was not upgraded: taking the release back" >&2
        rollback
        return 1
    fi
    if ! rollout ""; then
        echo "the new pods did not come up: taking the release back" >&2
        rollback
        return 1
    fi
}

canary() {
    local manifests
    manifests=$(render canary "$1")
    kube apply --filename - <<<"$manifests"
    rollout -canary
    weight "${2:-10}"
}

weight() {
    local name
    for name in platform agent; do
        kube annotate --overwrite "ingress/go2cloud-$name-canary" "nginx.ingress.kubernetes.io/canary-weight=$1"
    done
}

# First the requests, then, when those under way are over, the pods.
end_canary() {
    local role
    kube delete --ignore-not-found ingress/go2cloud-platform-canary ingress/go2cloud-agent-canary
    for role in "${ROLES[@]}"; do
        kube delete --ignore-not-found "deployment/go2cloud-$role-canary" "service/go2cloud-$role-canary"
    done
}

case "${1:-}:$#" in
render:3) render "$2" "$3" ;;
deploy:3) deploy "$2" "$3" ;;
canary:2 | canary:3) canary "$2" "${3:-10}" ;;
weight:2) weight "$2" ;;
end-canary:1) end_canary ;;
rollback:1) rollback ;;
*) usage ;;
esac
