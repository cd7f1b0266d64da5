#!/usr/bin/env bash
# Build a Kubernetes for tests from Debian's source package: about 10 minutes of two processors, once.
#
#   k8s/e2e/build.sh FOLDER      the programs lie in FOLDER/bin afterwards; a finished build is left as it is
#
# Debian has the source of Kubernetes 1.20 and packages only its client. The generated OpenAPI definitions are
# not part of the source, so they are generated first.
set -euo pipefail

folder=${1:?the folder to build in}
version=1.20.2
programs="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy"
packages="golang-1.19-go dpkg-dev"
go_folder=/usr/lib/go-1.19/bin

mkdir -p "$folder"/{apt/lists/partial,apt/cache/archives/partial,bin,gopath/src/k8s.io}
folder=$(realpath "$folder")
[ -e "$folder/bin/.complete" ] && exit 0

say() { echo "kubernetes: $* (${SECONDS} s)" >&2; }

install_packages() {
  local missing=()
  for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}

# The machine's own mirror, asked for sources; its configuration stays as it is.
fetch_source() {
  local sources=$folder/apt/sources.list configuration=$folder/apt/apt.conf
  grep -hs '^deb .* bookworm main' /etc/apt/sources.list /etc/apt/sources.list.d/*.list |
    head -1 | sed 's/^deb/deb-src/' > "$sources" || true
  if [ ! -s "$sources" ]; then
    awk '/^URIs:/ {print "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " $2 " bookworm main"; exit}' \
      /etc/apt/sources.list.d/*.sources > "$sources"
  fi
  cat > "$configuration" <<END
Dir::Etc::SourceList "$sources";
Dir::Etc::SourceParts "/nonexistent";
Dir::State::Lists "$folder/apt/lists";
Dir::Cache "$folder/apt/cache";
APT::Sandbox::User "root";
END
  (
    export APT_CONFIG=$configuration
    apt-get -qq update
    cd "$folder/apt" && apt-get -qq source --download-only kubernetes
  )
}

generate_openapi() {
  local go_packages
  go build -o "$folder/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
  go_packages=$(grep -rlE '^// \+k8s:openapi-gen=' --include=*.go vendor/k8s.io/ pkg staging cmd plugin |
    xargs -n1 dirname | sort -u |
    sed -E -e 's#^staging/src/k8s.io/#k8s.io/kubernetes/vendor/k8s.io/#' \
      -e 's#^(pkg|cmd|plugin|vendor)/#k8s.io/kubernetes/\1/#' |
    grep -vE '/(testdata|test)/|code-generator|sample-|kube-openapi/(test|cmd)' | sort -u | paste -sd,)
  "$folder/openapi-gen" --logtostderr -i "$go_packages" -p k8s.io/kubernetes/pkg/generated/openapi \
    -O zz_generated.openapi -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt \
    -r "$folder/violations.txt" --output-base "$folder/gopath/src" 2>/dev/null
}

build_programs() {
  local base=k8s.io/kubernetes/vendor/k8s.io/component-base/version
  local flags="-s -w -X $base.gitVersion=v$version -X $base.gitMajor=1 -X $base.gitMinor=20"
  for program in $programs; do
    go build -tags "providerless dockerless" -p 2 -ldflags "$flags" -o "$folder/bin/$program" \
      "k8s.io/kubernetes/cmd/$program"
    say "built $program"
  done
}

install_packages
fetch_source
say "fetched the source"
source=$folder/gopath/src/k8s.io/kubernetes
rm -rf "$source"
mkdir -p "$source"
tar -xzf "$folder"/apt/kubernetes_*orig.tar.gz -C "$source" --strip-components=1
export PATH=$go_folder:$PATH GOPATH=$folder/gopath GOCACHE=$folder/gocache GOFLAGS="" CGO_ENABLED=0
export GO111MODULE=off GOPROXY=off
cd "$source"
generate_openapi
say "generated the OpenAPI definitions"
build_programs
rm -rf "$folder/gopath" "$folder/gocache" "$folder/apt"
touch "$folder/bin/.complete"
