"""What validators say of one question, in one vocabulary, and where they differ from each other with a good reason.

in: our verdicts and others'; out: differences that are not in `disagreements.toml`, and rows of it that do not hold.
"""

import enum
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

import attrs

from volly_fed.discovery.dnssec import Answer, Outcome
from volly_fed.discovery.endpoint import Status

JUDGES = ("unbound", "delv")
FILE = Path(__file__).with_name("disagreements.toml")


class Opinion(enum.Enum):
    """RFC 4035's words; what is proved absent is told apart from what is proved there."""

    SECURE = "secure"
    ABSENT = "absent"
    INSECURE = "insecure"
    BOGUS = "bogus"
    INDETERMINATE = "indeterminate"

    @classmethod
    def of(cls, status: Status, *, records: bool) -> "Opinion":
        """`records`: whether there are any of the type that was asked for."""
        return cls.ABSENT if status is Status.SECURE and not records else cls(status.value)

    @classmethod
    def of_answer(cls, answer: Answer) -> "Opinion":
        """Our own."""
        return cls.of(answer.status, records=answer.outcome is Outcome.FOUND)


@attrs.frozen(order=True)
class Subject:
    """What is judged: the first case that asks a question, and the question, as "OWNER TYPE"."""

    case: str
    question: str


@attrs.frozen
class Disagreement:
    """A row of the file."""

    theirs: Opinion
    ours: Opinion
    why: str = attrs.field(eq=False)

    def row(self, subject: Subject, judge: str) -> str:
        """As the file has it."""
        fields = {
            "case": subject.case, "question": subject.question, "judge": judge,
            "theirs": self.theirs.value, "ours": self.ours.value, "why": self.why,
        }  # fmt: skip
        lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in fields.items())
        return "[[disagreement]]\n" + "".join(lines)


def listed(judge: str, path: Path = FILE) -> dict[Subject, Disagreement]:
    """The rows of one judge."""
    rows = tomllib.loads(path.read_text())["disagreement"]
    for row in rows:
        assert row.keys() == {"case", "question", "judge", "theirs", "ours", "why"}, row
        assert row["why"], row
        assert row["judge"] in JUDGES, row
    found = {
        Subject(row["case"], row["question"]): Disagreement(Opinion(row["theirs"]), Opinion(row["ours"]), row["why"])
        for row in rows
        if row["judge"] == judge
    }
    assert len(found) == sum(row["judge"] == judge for row in rows), "a row is there twice"
    return found


def complaints(judge: str, listed: Mapping[Subject, Disagreement], found: Mapping[Subject, Disagreement]) -> list[str]:
    """What has to be done about the file, as texts: differences that it lacks, and rows that do not hold."""
    new = [found[subject].row(subject, judge) for subject in sorted(found) if found[subject] != listed.get(subject)]
    old = [listed[subject].row(subject, judge) for subject in sorted(listed) if found.get(subject) != listed[subject]]
    return [f"not listed:\n{row}" for row in new] + [f"does not hold:\n{row}" for row in old]
