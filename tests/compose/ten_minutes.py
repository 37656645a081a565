"""The commands of docs/ten-minutes.md, as they stand there, for another domain than the one in the text.

in: the page; out: its blocks of commands, by section.
Never: changes a command, but for the names that the page says are to be replaced.
"""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "ten-minutes.md"
_SECTION = re.compile(r"^## (\d+)\. .*$", re.MULTILINE)
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections(domain: str) -> dict[int, list[str]]:
    """Section number -> its blocks, with `domain` for example.com."""
    text = PAGE.read_text().replace("example.com", domain)
    parts = _SECTION.split(text)
    return {int(number): _BLOCK.findall(body) for number, body in zip(parts[1::2], parts[2::2], strict=True)}
