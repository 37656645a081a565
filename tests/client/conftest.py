import os

import pytest

from volly_fed.client import DeviceKeys
from volly_fed.names import DomainName


@pytest.fixture(scope="session")
def alice() -> DeviceKeys:
    return DeviceKeys.generate(DomainName("a.test"), os.urandom, name="Alice")


@pytest.fixture(scope="session")
def bob() -> DeviceKeys:
    return DeviceKeys.generate(DomainName("b.test"), os.urandom, name="Bob")
