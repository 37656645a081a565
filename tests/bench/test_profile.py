"""To which part of the program a stack sample counts."""

import pytest

from bench.relay.profile import part_of

RUN = "unrolled_run (trio/_core/_run.py:2866)"


@pytest.mark.parametrize(
    ("frames", "part"),
    [
        ([RUN], "event loop"),
        ([RUN, "_read (volly_fed/daemon/link.py:161)"], "links, peers, queues"),
        ([RUN, "_read (volly_fed/daemon/link.py:161)", "_decrypt (volly_fed/daemon/tls_stream.py:283)"], "TLS"),
        ([RUN, "digest (volly_fed/edge/claim.py:58)", "new (hmac.py:60)"], "claims and delivery"),
        ([RUN, "receive (volly_fed/daemon/edges.py:181)"], "claims and delivery"),
        ([RUN, "run (volly_fed/daemon/store/writer.py:230)"], "store"),
        (["bootstrap (threading.py:1002)"], "the rest"),
    ],
)
def test_the_innermost_function_of_ours_counts(frames: list[str], part: str) -> None:
    assert part_of(frames) == part
