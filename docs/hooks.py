"""What the site has beside docs/: the specification and the pages at the root of the repository, where they are.

in: mkdocs' files and pages; out: the same, with spec/ and three pages more, and links that lead to them.
Never: changes a page's text, except links that leave docs/: to a page where there is one, else to the file's name.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = ("SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are kept elsewhere in the repository."""
    for path in (*(ROOT / name for name in PAGES), *sorted((ROOT / "spec").glob("*.md"))):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs calls by name
    """Point each relative link at the page that has what it names; without one, name the file."""
    name = page.file.src_uri
    on_disk = name if (ROOT / name).exists() else f"docs/{name}"

    def rewrite(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(on_disk), target))
        inside = wanted.removeprefix("docs/")
        if files.get_file_from_path(inside) is not None:
            return f"[{text}]({posixpath.relpath(inside, posixpath.dirname(name) or '.')}{anchor or ''})"
        if (ROOT / wanted).exists():
            return text if wanted in text else f"{text} (`{wanted}`)"
        return match[0]  # mkdocs says that it leads nowhere

    return _LINK.sub(rewrite, markdown)
