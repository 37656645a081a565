"""Mutation: whether the vectors notice that a line of the handshake or the session is not what it should be.

operators (what is changed), judge (the vectors, against one change), report (tables and the list of survivors),
survivors.toml (what no vector can see, and why), __main__ (the run). What came of it: docs/mutation.md.
"""
