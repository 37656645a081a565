from collections.abc import Iterator

import pytest

from tests.crypto import fake_oqs
from volly_fed.crypto import provider as provider_module
from volly_fed.crypto.liboqs import LiboqsProvider
from volly_fed.crypto.openssl import OpenSslProvider
from volly_fed.crypto.provider import Provider


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    fake_oqs.Faults.active = set()
    yield
    fake_oqs.Faults.active = set()
    provider_module.use(OpenSslProvider())


@pytest.fixture
def fake_liboqs() -> LiboqsProvider:
    return LiboqsProvider(oqs=fake_oqs, openssl=OpenSslProvider(), version="0.16.0")


@pytest.fixture(params=["openssl", "liboqs"])
def provider(request: pytest.FixtureRequest, fake_liboqs: LiboqsProvider) -> Provider:
    return OpenSslProvider() if request.param == "openssl" else fake_liboqs
