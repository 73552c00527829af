"""Documentation tells what is there: links lead somewhere, commands exist, reference pages are fresh."""

import re
from pathlib import Path

import pytest

from fedapi.crd.manifest import definitions
from tools import reference_docs

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
]


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}#{anchor}"


def test_a_heading_is_an_anchor(tmp_path):
    (tmp_path / "page.md").write_text("# A page\n\n```\n# no heading\n```\n## `make test`, and what it needs\n")
    assert anchors(tmp_path / "page.md") == {"a-page", "make-test-and-what-it-needs"}


def test_the_readme_leads_to_every_page():
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_named_in_pages_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", page.read_text())) <= targets


@pytest.mark.parametrize("name", sorted(reference_docs.pages()))
def test_reference_pages_are_fresh(name):
    on_disk = ROOT / "docs" / "reference" / name
    assert on_disk.exists(), "run `make generate`"
    assert on_disk.read_text() == reference_docs.pages()[name], "run `make generate`"


def immutable(schema, path=""):
    """Paths of the fields with a rule that they, or what they say beside other things, stay as they were."""
    if path and any("oldSelf" in rule["rule"] for rule in schema.get("x-kubernetes-validations", ())):
        yield path
        return
    for name, below in schema.get("properties", {}).items():
        yield from immutable(below, f"{path}.{name}".removeprefix(".spec").removeprefix("."))


def test_the_fields_that_pages_call_unchangeable_are_those_that_the_api_server_keeps():
    (schema,) = (
        version["schema"]["openAPIV3Schema"]
        for definition in definitions().values()
        if definition["spec"]["names"]["plural"] == "federatedjobs"
        for version in definition["spec"]["versions"]
    )
    kept = set(immutable(schema))
    operations = (ROOT / "docs/operations.md").read_text()
    (told,) = re.findall(r"Everything but (.+?) may change", operations)
    assert set(re.findall(r"`([^`]+)`", told)) == kept
    (some,) = re.findall(r"Fields that cannot change on a\ncluster \((.+?)…\)", (ROOT / "docs/embedded.md").read_text())
    assert set(re.findall(r"`([^`]+)`", some)) < kept
