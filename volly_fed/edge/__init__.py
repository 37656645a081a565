"""Homeserver <-> edge node <-> device: who holds which mailbox, and what flows to it.

claim         proof that a device holds a mailbox; acknowledgements         both ends, pure functions
registration  what a mailbox lets in                                        both ends, pure functions
admission     whether an envelope may be put in a mailbox (gate: deliver)   homeserver
delivery      the window of one claim                                       homeserver
claims        all claims of all edge links                                  homeserver
dispatch      what was given to the claims of one link and has not left     homeserver
registry      connections, their mailboxes and submissions                  edge node
submissions   what devices handed over and the homeserver has not settled   edge node
outbox        a bounded queue in front of a device's slow socket            edge node
visitors      how many devices one address may have                         edge node
"""
