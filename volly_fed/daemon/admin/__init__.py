"""Commands to a running homeserver over a unix socket, and what answers them."""
