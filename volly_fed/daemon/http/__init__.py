"""The operator's read-only HTTP face: a status page, health checks, metrics."""
