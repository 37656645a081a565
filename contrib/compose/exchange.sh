#!/bin/sh
# One device in each of three domains: what is permitted arrives, what is not is refused, and who is online is seen.
# Exit code 0 if all of it happens; each line says what did.
set -eu

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

device() {
    who=$1
    shift
    volly-fed device --home "$work/$who" --anchors /srv/devices/anchors.ds --roots /srv/devices/ca.pem \
        --allow-private-addresses "$@"
}

fail() {
    echo "exchange: FAILED: $*" >&2
    exit 1
}

# within SECONDS COMMAND…: until it succeeds, looked at twice a second
within() {
    left=$(($1 * 2))
    shift
    until "$@"; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 0.5
    done
}

for who in a b c; do
    device "$who" card --domain "$who.test" --name "$who" >"$work/$who.card"
done
card() { cat "$work/$1.card"; }

# --- envelopes -------------------------------------------------------------------------------------------------------

for who in a b; do
    device "$who" listen --count 1 --timeout 60 >"$work/$who.heard" 2>"$work/$who.listen" &
done
for who in a b; do
    within 30 grep -q "listening as" "$work/$who.listen" || fail "$who.test: no mailbox: $(cat "$work/$who.listen")"
done

permitted() {
    device "$1" send "$(card "$2")" "from $1 to $2" >/dev/null || fail "$1.test -> $2.test was not accepted"
    within 30 grep -q "from $1 to $2" "$work/$2.heard" || fail "$1.test -> $2.test did not arrive"
    echo "exchange: $1.test -> $2.test: delivered"
}

refused() {
    if device "$1" send --wait 5 "$(card "$2")" "from $1 to $2" >"$work/answer" 2>&1; then
        fail "$1.test -> $2.test was accepted"
    fi
    grep -q POLICY "$work/answer" || fail "$1.test -> $2.test: refused for another reason: $(cat "$work/answer")"
    echo "exchange: $1.test -> $2.test: refused by policy"
}

permitted a b
permitted b a
for pair in "a c" "c a" "b c" "c b"; do
    # shellcheck disable=SC2086
    refused $pair
done

# --- presence --------------------------------------------------------------------------------------------------------

device a contacts add "$(card b)" >/dev/null
device b contacts add "$(card a)" >/dev/null
for who in a b; do
    device "$who" listen >/dev/null 2>&1 &   # the presence keys come in envelopes
    device "$who" online >/dev/null 2>&1 &
    until device "$who" watch --json >"$work/$who.watch" 2>&1; do sleep 1; done &   # there is nothing to watch before
done
for who in a b; do
    within 60 grep -q '"online"' "$work/$who.watch" || fail "$who.test sees nobody: $(cat "$work/$who.watch")"
    echo "exchange: $who.test sees its contact online"
done
echo "exchange: all as the levels say"
