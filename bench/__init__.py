"""Benchmarks. Each prints what it measures, and exits 1 where it is beyond its limits."""
