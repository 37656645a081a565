"""A whole federation on loopback: sites (files and keys), network (DNS and processes), demo (its story and figures).

Nothing here is needed by a homeserver: the same commands, files and records that an operator uses are put together.
"""
