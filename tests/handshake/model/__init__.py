"""The handshake as a model that is searched exhaustively, for two sessions each way: see docs/handshake-model.md.

world      who there is, what an attacker may have, what DNS says to whom
terms      HELLO, what each end sees of a channel, what AUTH signs, field by field
network    who is connected with whom: every way in which the attacker can arrange four sessions
ends       what an honest end does: which messages it takes, what it signs
agreement  what must hold when an end is done
search     every reachable state, and the first that breaks an agreement
story      an attack as a sequence of messages
attackers  which agreement is expected to hold against whom; fields, cases: what each signed field and check is for
report     the tables
"""
