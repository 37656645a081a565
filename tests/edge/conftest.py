import os

import pytest

from tests.edge.net import HOME
from volly_fed.client import DeviceKeys
from volly_fed.names import DomainName


@pytest.fixture(scope="session")
def bob() -> DeviceKeys:
    return DeviceKeys.generate(HOME, os.urandom, name="Bob")


@pytest.fixture(scope="session")
def alice() -> DeviceKeys:
    return DeviceKeys.generate(DomainName("far.test"), os.urandom, name="Alice")
