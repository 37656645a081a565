"""What stands in every page: style and script, and the policy that lets nothing else in.

in: page.css and page.js beside this module; out: their text, the Content-Security-Policy that names their hashes.
Never: lets a page load anything, from us or from elsewhere, but itself again.
"""

import base64
import hashlib
from pathlib import Path
from typing import Final

_HERE = Path(__file__).parent
STYLE: Final = (_HERE / "page.css").read_text(encoding="utf-8")
SCRIPT: Final = (_HERE / "page.js").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(STYLE)}",
        f"script-src {_hash(SCRIPT)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
