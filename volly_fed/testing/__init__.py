"""Fakes and worlds for tests and for the test network: product code, usable by others."""
