"""What an edge took from devices: a refusal by the recipient's homeserver may come before our own's acceptance."""

import time

from tests.daemon.sites import B, envelope
from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.edge.submissions import Outcomes, Submissions
from volly_fed.relay.envelope import read_head

REFUSED = (ErrorCode.POLICY, "no")
CONNECTION = 7


def test_a_refusal_that_overtakes_the_acceptance_is_told_with_it_and_once() -> None:
    submissions = Submissions()
    frames = [envelope(B), envelope(B)]
    one, two = (read_head(frame).id for frame in frames)
    offered, _ = submissions.take(CONNECTION, frames, time.time())
    assert submissions.submitters([(one, *REFUSED)]) == {}
    told = submissions.settle([key for key, _ in offered], [])
    assert told == {CONNECTION: Outcomes(accepted=[two], refused=[(one, *REFUSED)])}
    assert submissions.submitters([(two, *REFUSED)]) == {CONNECTION: [(two, *REFUSED)]}
    assert submissions._early == {}


def test_refusals_of_what_was_never_submitted_here_do_not_pile_up() -> None:
    submissions = Submissions()
    for number in range(limits.RECEIPT_MEMORY + 10):
        submissions.submitters([(number.to_bytes(16, "big"), *REFUSED)])
    assert len(submissions._early) == limits.RECEIPT_MEMORY
