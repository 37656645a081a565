"""The sizes, counts and times of the link shim, as limits.py has them for the protocol.

in: nothing; out: constants. Sizes are bytes, times are seconds.
Never: used by anything that runs outside tests.
"""

CHUNK = 1 << 18
"""Read at once while no fault is set; with 64 KiB a gigabyte costs a tenth more processor time."""
BUFFER = 1 << 20
"""Under way in one direction of one connection; a round trip of 100 ms leaves 20 MB/s, more than one link carries."""
CONNECTIONS = 1024
"""At once; further ones are reset."""
TICK = 0.01
"""Of a rate: what is sent at once, and what may be made up for after a late wake-up."""
SEGMENT = 1448
"""Lost or not lost as a whole: what an Ethernet frame carries."""
RETRANSMIT = 0.2
"""What a lost segment is late; Linux waits no less (TCP_RTO_MIN)."""
RETRANSMIT_CAP = 60.0
"""RFC 6298 §2.5"""
DRAIN_POLL = 0.001
"""Between two looks whether the bytes before a cut have arrived; the kernel tells nobody."""
