"""volly-fed: a homeserver daemon for federated, blind, post-quantum signaling.

Layers, from the top (imports point downwards only; docs/architecture.md, asserted by tests/test_imports.py):

    cli > testnet > testing > daemon > observe | config | client > edge > relay | presence > router
    > session > handshake > channel > discovery > trust > crypto | wire
    > machine > errors > codepoints > limits > names

All of trio, sockets, clocks and files lives in `daemon`, `testing`, `testnet` and `cli`; everything else is sans-IO.
"""

__version__ = "0.2.0.dev0"
