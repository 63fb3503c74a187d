"""Links and pictures in the documentation lead somewhere."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.pages import ROOT, Page, pages


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_relative_links_resolve(page: Page) -> None:
    broken = [link for link in page.links() if not _resolves(page, link)]
    assert not broken


def test_the_picture_is_well_formed_and_described() -> None:
    tree = ElementTree.parse(ROOT / "docs" / "picture.svg")
    names = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert {"title", "desc"} <= names
    assert "script" not in names


def test_every_page_in_docs_is_reachable_from_the_readme() -> None:
    readme = next(page for page in pages() if page.name == "README.md")
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in readme.links()}
    found = {page.path for page in pages() if page.path.parent == ROOT / "docs"}
    assert found <= linked


def _resolves(page: Page, link: str) -> bool:
    if link.startswith(("https://", "http://", "mailto:")):
        return True
    file, _, anchor = link.partition("#")
    target = (page.path.parent / file).resolve() if file else page.path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or anchor in _anchors(target)


def _anchors(path: Path) -> set[str]:
    return Page(path, path.read_text(encoding="utf-8")).anchors()
