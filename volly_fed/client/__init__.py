"""The device's side: keys, cards, sealed content, and what is said to an edge. Used by the CLI, tests and examples.

card       what one person gives another, to be reached
contact    the cards one has been given
mailbox    a device's own keys, and whom its mailbox lets in
seal       content <-> sealed envelope
receiver   a connection that claims the mailbox and receives       machine
submitter  a connection that submits                               machine
presence   presence keys: our own, contacts', and who has been given which
announcer  which tags are due to be announced
sightings  which contacts are online, by what their domains show
talk       a connection that announces, or one that watches    machine
keepalive  when a silent connection is asked, and given up         part of both
inbox      exactly once: what a message is known by, and what its store promises

The trio side, with sockets and files, is volly_fed.daemon.device.
"""

from volly_fed.client.card import Card, encode_card, parse_card
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.seal import Content, Opened, open_envelope, seal

__all__ = ["Card", "Content", "DeviceKeys", "Opened", "encode_card", "open_envelope", "parse_card", "seal"]
