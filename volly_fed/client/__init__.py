"""The device's side: keys, cards, sealed content, and what is said to an edge. Used by the CLI, tests and examples.

card       what one person gives another, to be reached; contact: the cards one has been given
mailbox    a device's own keys, and whom its mailbox lets in
seal       content <-> sealed envelope; by_hand: one with a presence key, as text; spelling: of cards and such texts
receiver   a connection that claims the mailbox and receives; submitter: one that submits     machines
talk       a connection that announces, or one that watches                                   machine
conversation  what these have in common, with the keepalive
inbox      exactly once: what a message is known by, and what its store promises
presence   who has which presence key; announcer: tags that are due; sightings: who is online
The trio side, with sockets and files, is volly_fed.daemon.device.
"""

from volly_fed.client.card import Card, encode_card, parse_card
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.seal import Content, Opened, open_envelope, seal

__all__ = ["Card", "Content", "DeviceKeys", "Opened", "encode_card", "open_envelope", "parse_card", "seal"]
