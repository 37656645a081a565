"""The relay path: two homeserver processes with everything that is real, under load from light edges and peers.

envelopes   batches of envelopes, encoded without a Python step for each
ticker      a clock that ticks on time
link        a connection to a homeserver, and the messages on it
submitter   a fake edge that hands envelopes over
receiver    a fake edge that claims mailboxes, takes deliveries and acknowledges them
worker      a generator in a process of its own
processor   what processes have spent
setting     the world: names, homeservers, generators
"""
