"""All of trio, sockets, clocks and files: what drives the sans-IO stages below."""
