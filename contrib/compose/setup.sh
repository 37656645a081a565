#!/bin/sh
# Makes what docker-compose.federation.yml starts from: for each domain a homeserver and two edge nodes, as an operator
# would make them; the zone test. with their records and a key to sign it; certificates for the devices' connections.
# Run again, it leaves what is there.
set -eu

zone=/srv/dns/test.zone
if [ -e /srv/devices/anchors.ds ]; then
    echo "setup: everything is there"
    exit 0
fi

# option FILE NAME VALUE: sets what the annotated configuration has as a comment
option() {
    sed -i "s|^# $2 = .*|$2 = $3|" "$1"
    grep -q "^$2 = " "$1" || { echo "setup: $1 has no option $2" >&2; exit 2; }
}

# --- DNS -------------------------------------------------------------------------------------------------------------

cat >/srv/dns/knot.conf <<END
server:
    rundir: /srv/dns
    listen: [$NETWORK.2@53, 127.0.0.1@53]
database:
    storage: /srv/dns/db
log:
  - target: stderr
    any: info
policy:
  - id: signed
    algorithm: ecdsap256sha256
    single-type-signing: on
zone:
  - domain: test.
    storage: /srv/dns
    file: test.zone
    dnssec-signing: on
    dnssec-policy: signed
END
mkdir -p /srv/dns/db
cat >$zone <<END
@ 300 IN SOA ns1 hostmaster 1 86400 86400 864000 300
@ 300 IN NS ns1
ns1 300 IN A $NETWORK.2
END
keymgr -c /srv/dns/knot.conf test. generate algorithm=ecdsap256sha256 ksk=yes zsk=yes >/dev/null
keymgr -c /srv/dns/knot.conf test. ds | sed -n 's/ DS / IN DS /; / 2 [0-9a-fA-F]*$/p' >/srv/devices/anchors.new

# --- certificates for devices ----------------------------------------------------------------------------------------

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=federation under test" \
    -keyout /srv/dns/ca.key -out /srv/devices/ca.pem 2>/dev/null

certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -keyout "$1/devices.key" 2>/dev/null |
        openssl x509 -req -days 3650 -CA /srv/devices/ca.pem -CAkey /srv/dns/ca.key -CAcreateserial \
            -extfile /dev/fd/3 -out "$1/devices.pem" 3<<END 2>/dev/null
subjectAltName = DNS:$2
basicConstraints = CA:FALSE
END
    chmod 600 "$1/devices.key"
}

# --- domains ---------------------------------------------------------------------------------------------------------

identity() { volly-fed keys show --identity --config "$1"; }

# domain LETTER TENS: addresses are $NETWORK.TENS1 to TENS3
domain() {
    name=$1.test home=/srv/$1.test toml=/srv/$1.test/volly-fed.toml
    volly-fed init "$name" --dir "$home" --host "fed.$name" --edges-listen "*:5224" --device-host "signal.$name" >/dev/null
    cp /srv/devices/anchors.new "$home/anchors.ds"
    option "$toml" anchors_file '"anchors.ds"'
    option "$toml" allow_private_addresses true
    option "$toml" allow_remote true
    sed -i "s|^# listen = \"127.0.0.1:9223\"|listen = \"$NETWORK.${2}1:9223\"|" "$toml"
    sed -i 's/^default = .*/default = "none"/' "$home/trust.toml"
    volly-fed dns print --config "$toml" | grep ' IN ' >>$zone
    echo "fed.$name. 300 IN A $NETWORK.${2}1" >>$zone
    for number in 1 2; do
        edge=/srv/$name-edge-$number
        certificate "$edge" "signal.$name"
        volly-fed edge init --name "edge-$number" --domain "$name" --dir "$edge" --homeserver "$NETWORK.${2}1:5224" \
            --homeserver-id "$(identity "$toml")" --listen "*:5222" >/dev/null
        option "$edge/edge.toml" tls_certificate '"devices.pem"'
        option "$edge/edge.toml" tls_key '"devices.key"'
        volly-fed edges enrol "edge-$number" "$(identity "$edge/edge.toml")" --config "$toml" >/dev/null
        echo "signal.$name. 300 IN A $NETWORK.$2$((number + 1))" >>$zone
    done
    echo "setup: $name, identity $(identity "$toml")"
}

domain a 1
domain b 2
domain c 3

level() { volly-fed trust set "$2.test" "$3" --config "/srv/$1.test/volly-fed.toml" >/dev/null; }
level a b full
level b a full
level a c metadata
level c a metadata
level b c none
level c b none

chown -R 10001:10001 /srv/*.test /srv/*.test-edge-*
mv /srv/devices/anchors.new /srv/devices/anchors.ds
