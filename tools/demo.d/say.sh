# SPDX-License-Identifier: Apache-2.0
# How the demo speaks; sourced. Colours only where standard output is a terminal that wants them.

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' GREEN='' RED='' PLAIN=''
fi
SCENE=0

say() { printf '%s\n' "$*"; }
fail() { printf '%sdemo: %s%s\n' "$RED" "$*" "$PLAIN" >&2; exit 1; }
scene() { SCENE=$((SCENE + 1)); printf '\n%s%d. %s%s\n' "$BOLD" $SCENE "$*" "$PLAIN"; }
show() { printf '   %s$ %s%s\n' "$DIM" "$*" "$PLAIN"; }
# What a server sent is shown without the bytes that a terminal would obey, and long lines are cut.
indent() { tr -d '\000-\010\013-\037\177' | cut -c1-150 | sed 's/^/   /'; }

# claim TEXT COMMAND…: what the story just said, checked.
claim() {
    local text=$1
    shift
    if "$@" >/dev/null 2>&1; then
        HELD=$((HELD + 1))
        printf '   %s✓ %s%s\n' "$GREEN" "$text" "$PLAIN"
    else
        BROKEN=$((BROKEN + 1))
        printf '   %s✗ %s%s\n' "$RED" "$text" "$PLAIN"
    fi
}

# json EXPRESSION: evaluates it over the JSON on standard input, named d.
json() { /usr/bin/python3 -c 'import json, sys; d = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }
