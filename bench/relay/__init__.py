"""The relay path: two homeserver processes with everything that is real, under load from light edges and peers.

envelopes    batches of envelopes, encoded without a Python step for each
ticker       a clock that ticks on time
link         a connection to a homeserver, and the messages on it
submitter    a fake edge that hands envelopes over
receiver     a fake edge that claims mailboxes, takes deliveries and acknowledges them
arrivals     what has arrived of what was sent
peer_keys    other domains
callers      fake peers that call a homeserver
acceptors    fake peers that a homeserver calls
worker       a generator in a process of its own
processor    what processes have spent; awake: processors that do not sleep
setting      the world: names, homeservers, generators
load         load on it, and what came of it
one_link, many, outage, far, sealing    the figures
figure, report, plot                    goals, tables, pictures
"""
