"""The documentation as data: its files, links, code blocks and rendered parts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_SKIPPED = frozenset({".venv", "node_modules", "build", ".git", ".demo", ".pytest_cache"})


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """Path from the root of the project, for test ids."""
        return str(self.path.relative_to(ROOT))

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    def blocks(self, *languages: str) -> list[Block]:
        """The fenced blocks in one of ``languages``; all of them when none is named."""
        found = (Block(match[1], match[2]) for match in _FENCE.finditer(self.text))
        return [block for block in found if not languages or block.language in languages]

    def links(self) -> list[str]:
        """Targets of the links and pictures outside of code."""
        return _LINK.findall(_INLINE.sub("", self.prose))

    def inline(self) -> list[str]:
        """Code inside of lines."""
        return _INLINE.findall(self.prose)

    def anchors(self) -> set[str]:
        """What ``#...`` may point to, as GitHub names headings."""
        titles = (re.sub(r"[`*]", "", title).lower() for title in _HEADING.findall(self.prose))
        return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def pages() -> list[Page]:
    """Every Markdown file of the project."""
    return [Page(path, path.read_text(encoding="utf-8")) for path in sorted(_files())]


def page(name: str) -> Page:
    """One of them, by its path from the root."""
    path = ROOT / name
    return Page(path, path.read_text(encoding="utf-8"))


def _files() -> Iterator[Path]:
    for path in ROOT.rglob("*.md"):
        if not _SKIPPED.intersection(path.relative_to(ROOT).parts):
            yield path
