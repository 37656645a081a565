"""The device's side over real sockets and files, for the command line, tests and the test network."""
