"""The daemon's resolver: transport, caches, and the ways to validate."""
