#!/bin/sh
# A signing name server for the root of a private DNS: everything is in that one zone.
# in: names.sh ADDRESS FOLDER, FOLDER/zone; out: FOLDER/anchors.ds, then knotd in the foreground. Its keys stay in FOLDER.
set -eu
address=$1 folder=$2
mkdir -p "$folder/knot"
cat > "$folder/knot/knot.conf" <<CONF
server:
    listen: $address@53
    rundir: $folder/knot
database:
    storage: $folder/knot
log:
  - target: stderr
    any: notice
policy:
  - id: federation
    algorithm: ecdsap256sha256
    single-type-signing: on
    ksk-lifetime: 0
zone:
  - domain: .
    file: $folder/zone
    zonefile-sync: -1
    dnssec-signing: on
    dnssec-policy: federation
CONF
keymgr="keymgr --config $folder/knot/knot.conf"
if ! [ -e "$folder/anchors.ds" ]; then
    $keymgr . generate algorithm=ECDSAP256SHA256 ksk=yes zsk=yes >/dev/null
    # SHA-256 (digest type 2) is all that the validator needs
    $keymgr . ds | sed -n 's/^\. DS \([0-9]* [0-9]* 2 .*\)/. IN DS \1/p' > "$folder/anchors.ds.new"
    mv "$folder/anchors.ds.new" "$folder/anchors.ds"
fi
exec knotd --config "$folder/knot/knot.conf"
