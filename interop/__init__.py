"""Interoperability: scenarios that any implementation of spec/ can be put through. README.md is the contract."""
