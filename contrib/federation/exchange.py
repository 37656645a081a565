"""What reaches whom in the federation of prepare.py: `python exchange.py PREFIX FOLDER`; 0: as it should be.

in: a running federation, FOLDER/anchors.ds and FOLDER/ca.pem; out: a line for each envelope, and the exit code.
Never: takes silence for a refusal: who may not send is told so.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ARRIVES = {
    ("a.test", "b.test"): True,
    ("b.test", "a.test"): True,
    ("a.test", "c.test"): False,
    ("c.test", "b.test"): False,
}
"""By the levels: full both ways; metadata lets nothing through; none does not even connect."""
TIMEOUT = 60


class Device:
    """A device of a domain, which finds its edge nodes by the DNS."""

    def __init__(self, domain: str, home: Path, options: list[str]) -> None:
        """`options` are those of `volly-fed device`."""
        self.domain = domain
        self._command = [sys.executable, "-m", "volly_fed", "device", "--home", str(home / domain), *options]
        self.card = self.run("card", "--domain", domain).stdout.strip()

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`volly-fed device ARGUMENTS`, to its end."""
        return subprocess.run(
            [*self._command, *arguments], stdout=subprocess.PIPE, text=True, check=False, timeout=TIMEOUT
        )

    def listening(self) -> "subprocess.Popen[str]":
        """Receives one message, and ends."""
        arguments = ["listen", "--count", "1", "--timeout", str(TIMEOUT)]
        process = subprocess.Popen(
            [*self._command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        process.stderr.readline()  # "listening as …": the mailbox is claimed
        return process


def main(prefix: str, folder: Path) -> int:
    """The exit code."""
    options = ["--resolver", f"{prefix}.2:53", "--anchors", str(folder / "anchors.ds"), "--allow-private-addresses"]
    options += ["--roots", str(folder / "ca.pem")]
    wrong = 0
    with tempfile.TemporaryDirectory() as home:
        devices = {
            name: Device(name, Path(home), options) for name in sorted({name for pair in ARRIVES for name in pair})
        }
        for (sender, recipient), expected in ARRIVES.items():
            arrived = said(devices[sender], devices[recipient], f"from {sender}", expected=expected)
            wrong += arrived is not expected
            print(f"{sender} -> {recipient}: {'arrived' if arrived else 'refused'}", flush=True)
    print("as it should be" if not wrong else f"{wrong} of {len(ARRIVES)} are wrong")
    return 1 if wrong else 0


def said(sender: Device, recipient: Device, text: str, *, expected: bool) -> bool:
    """Whether `text` arrives."""
    if not expected:
        return sender.run("send", recipient.card, text, "--wait", "10").returncode == 0
    listener = recipient.listening()
    try:
        sender.run("send", recipient.card, text)
        received, _ = listener.communicate(timeout=TIMEOUT)
        return text in received
    finally:
        listener.kill()
        listener.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
