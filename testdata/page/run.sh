#!/bin/sh
# Tests the page of sdgo serve in Chromium, with the built-in model. What is missing is
# said, and nothing is tested then; arguments go to Playwright, such as a file's name.
#
# CHROMIUM is the browser, by default the first of the usual names.
set -eu
cd "$(dirname "$0")"

skip() {
	echo "page-test SKIPPED: $1"
	exit 0
}

command -v node >/dev/null && command -v npm >/dev/null || skip "Node and npm are missing, version 20 or newer"
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || skip "Node must be version 20 or newer, is $(node --version)"
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -n "$CHROMIUM" ] || skip "Chromium is missing; on Debian: apt-get install chromium"
export CHROMIUM PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1

# What npm installed is up to date if it is newer than the lock file.
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund

if [ "${1-}" = pictures ]; then
	exec node pictures.js
fi
exec node_modules/.bin/playwright test "$@"
