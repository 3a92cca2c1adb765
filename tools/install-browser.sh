#!/usr/bin/env bash
# What the tests of the status page need: Debian's Chromium and its driver. Without them these tests are skipped, but in CI they fail.
set -euo pipefail
packages=(chromium chromium-driver)
present() { command -v chromium >/dev/null && command -v chromedriver >/dev/null; }

if ! present && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { timeout 180 apt-get update --quiet --quiet &&
        DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends "${packages[@]}" >/dev/null; } || true
fi
present || echo "no Chromium: the tests of the status page that need one are skipped; as root: apt-get install ${packages[*]}" >&2
