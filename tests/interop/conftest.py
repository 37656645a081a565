"""Whatever a test starts has ended when it has."""

from tests.federation.conftest import nothing_left_running

__all__ = ["nothing_left_running"]
