"""The chart's documentation says what the chart does. No helm needed."""

import json
import re

from tests.chart.rendering import CHART, ROOT
from tools import values_docs

TEXT = (CHART / "values.yaml").read_text()


def test_the_page_is_fresh():
    assert values_docs.PAGE.read_text() == values_docs.page(TEXT), "run `make generate`"


def test_every_value_is_described():
    assert values_docs.undescribed(TEXT) == []


def test_the_schema_knows_every_value_and_no_other():
    schema = json.loads((CHART / "values.schema.json").read_text())

    def leaves(node, path=()):
        node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if node.get("properties") and node.get("additionalProperties") is False and ".".join(path) not in described:
            for name, child in node["properties"].items():
                yield from leaves(child, (*path, name))
        else:
            yield ".".join(path)

    described = {value.name for value in values_docs.described(TEXT)}
    assert set(leaves(schema)) - {"global"} == described


def test_the_install_page_names_only_values_that_exist():
    names = {".".join(path) for path, _ in values_docs.keys(TEXT)}
    page = (ROOT / "docs" / "install.md").read_text()
    used = set(re.findall(r"--set(?:-string|-json)? '?([A-Za-z.]+)=", page)) | set(
        re.findall(r"`([a-z][A-Za-z]*\.[A-Za-z.]+)`", page)
    )
    assert {name for name in used if name.partition(".")[0] in {each.partition(".")[0] for each in names}} <= names
