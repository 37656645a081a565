"""volly-fed with a fault planted in it: the first envelope from an edge node meets an exception.

Usage: python crashing.py ARGUMENTS…, as volly-fed itself.
"""

from volly_fed.cli import main
from volly_fed.daemon.intake import Intake
from volly_fed.daemon.link import Pending
from volly_fed.session import Received


async def _fail(_self: Intake, link: int, batch: Received) -> Pending:
    envelopes = batch.envelopes  # in a local variable, as it would be
    raise RuntimeError(f"a planted fault at {len(envelopes)} envelopes of link {link}")


if __name__ == "__main__":
    Intake.from_edge = _fail  # type: ignore[method-assign, assignment]
    main()
