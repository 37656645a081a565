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
    within 30 grep -qs "listening as" "$work/$who.listen" || fail "$who.test: no mailbox: $(cat "$work/$who.listen")"
done

permitted() {
    device "$1" send "$(card "$2")" "from $1 to $2" >/dev/null || fail "$1.test -> $2.test was not accepted"
    within 30 grep -qs "from $1 to $2" "$work/$2.heard" || fail "$1.test -> $2.test did not arrive"
    echo "exchange: $1.test -> $2.test: delivered"
}

refused() {
    if device "$1" send --wait 5 "$(card "$2")" "from $1 to $2" >"$work/answer" 2>&1; then
        fail "$1.test -> $2.test was accepted"
    fi
    grep -qs POLICY "$work/answer" || fail "$1.test -> $2.test: refused for another reason: $(cat "$work/answer")"
    echo "exchange: $1.test -> $2.test: refused by policy"
}

permitted a b
permitted b a
for pair in "a c" "c a" "b c" "c b"; do
    # shellcheck disable=SC2086
    refused $pair
done

# --- presence --------------------------------------------------------------------------------------------------------

# a.test shows itself to both: to b.test at level full, to c.test at level metadata. Keys come in envelopes to b.test;
# c.test gets none, so that people hand the key over themselves. b.test and c.test know each other, and see nothing.
know() { device "$1" contacts add "$(card "$2")" >/dev/null; }
has_key() { device "$1" watch "$2" --timeout 0 >/dev/null 2>&1; }
by_hand() { device "$1" give "$2" | device "$2" take >/dev/null 2>&1 || fail "$1 cannot give $2 a key"; }

for pair in "a b" "b a" "a c" "c a" "b c" "c b"; do
    # shellcheck disable=SC2086
    know $pair
done
for pair in "a c" "c a" "b c" "c b"; do
    # shellcheck disable=SC2086
    by_hand $pair
done
for who in a b c; do
    device "$who" listen >/dev/null 2>&1 &
    device "$who" online >/dev/null 2>&1 &
done
for pair in "a b" "b a"; do # the keys that come in envelopes
    # shellcheck disable=SC2086
    within 60 has_key $pair || fail "a key has not come: $pair"
done
for who in a b c; do
    device "$who" watch --json >"$work/$who.watch" 2>&1 &
done

# sees WHO WHOM "ONLINE OR UNKNOWN" REASON
sees() {
    within 60 grep -qs "\"contact\": \"$2\".*\"presence\": \"$3\".*$4" "$work/$1.watch" ||
        fail "$1.test does not see $2.test as $3: $(cat "$work/$1.watch")"
    echo "exchange: $1.test sees its contact at $2.test: $3${4:+ ($4)}"
}

sees a b online ""
sees b a online ""
sees a c online ""
sees c a online ""
sees b c unknown POLICY
sees c b unknown POLICY
echo "exchange: all as the levels say"
