"""Reads YAML as kubectl and the API server do: Go's library (goyaml v2 by sigs.k8s.io/yaml), then JSON. Called by manifests.py.

Go resolves plain scalars by rules of its own: `1e-3`, `0o17` and `017` are numbers, `y` is a boolean, `22:30` and
`2026-01-05` are strings; what is no string as a key becomes one. Values are those of JSON: a whole number is an
integer, however it was written. Documents are split by lines, before anything is parsed, as kubectl splits them.
"""

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Iterator
from typing import Any

import yaml

from fedapi.jsonvalue import Json

try:
    from yaml._yaml import CParser as _Parser  # libyaml, of which Go's parser is a port: it takes tabs where Go does
except ImportError:
    _Parser = None  # type: ignore[assignment,misc]
_TAG = "tag:yaml.org,2002:"
_PLAIN = "plain"  # a scalar without quotes and tag: what it is, its text decides
_STR, _INT, _FLOAT, _BOOL, _NULL, _TIME, _BINARY, _MERGE = (
    _TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "binary", "merge")
)
_RESOLVED = (_PLAIN, _INT, _FLOAT, _BOOL, _NULL, _TIME)  # tags whose scalars Go resolves; of others it takes the text
_WORDS: Json = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[oO]?([0-7]+)|0[bB]([01]+)|(0|[1-9][0-9]*))")
_REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LOOSE = re.compile(r"(?<![0-9])_|_(?![0-9])")  # an underscore that does not part two digits
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")
_INT64, _UINT64, _JSON_EXACT = 1 << 63, 1 << 64, 1e21  # from the last on Go writes a float with an exponent
MOST_VALUES = 400_000  # of one document with its aliases followed


class NotKubectlError(ValueError):
    """kubectl would not read this; the text says why."""


def documents(text: str) -> list[Any]:
    """The JSON value of each document. NotKubectlError where kubectl refuses, or nobody could read it."""
    try:
        return _documents(text.removeprefix("\ufeff"))
    except NotKubectlError:
        raise
    except RecursionError as error:
        raise NotKubectlError("is nested too deep") from error
    except (ValueError, OverflowError) as error:
        raise NotKubectlError("holds a number that is too large") from error


def _documents(text: str) -> list[Any]:
    found: list[Any] = []
    while (start := text.lstrip()).startswith("{"):
        try:
            value, end = _JSON.raw_decode(start)
        except NotKubectlError:
            raise
        except ValueError:
            break
        found.append(_jsonable(value))
        text = start[end:]
    if found and not text.strip():
        return found
    return found + [_document(part) for part in _parts(text)][bool(found) and not _parts(text)[0].strip() :]


def _parts(text: str) -> list[str]:
    parts = [""]
    for line in text.splitlines(keepends=True) if "\r\n" not in text else text.replace("\r\n", "\n").splitlines(True):
        if not line.startswith("---"):
            parts[-1] += line
        elif (rest := line[3:].strip()) and not rest.startswith("#"):
            raise NotKubectlError(f"invalid document separator: {line.strip()!r}: write --- on a line of its own")
        else:
            parts.append("")
    return parts


def _document(text: str) -> Any:
    try:
        loader = Loader(text)
        node = loader.get_node() if loader.check_node() else None
        return None if node is None else _jsonable(_Values().of(node))
    except yaml.YAMLError as error:
        raise NotKubectlError(" ".join(str(error).split())) from error


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NotKubectlError(f"the number {text} is too large")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(name)


_JSON = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant, strict=True)


class Composer(yaml.composer.Composer, yaml.resolver.BaseResolver):
    """Nodes whose tags say whether a scalar was plain; nothing is resolved yet."""

    def __init__(self) -> None:
        yaml.composer.Composer.__init__(self)
        yaml.resolver.BaseResolver.__init__(self)

    def resolve(self, kind: type[yaml.Node], _value: Any, implicit: Any) -> str:
        """The tag of a node that has none."""
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _STR
        return _TAG + ("seq" if kind is yaml.SequenceNode else "map")


if _Parser is not None:

    class Loader(_Parser, Composer):
        """Composes nodes of one text."""

        def __init__(self, text: str) -> None:
            Composer.__init__(self)
            _Parser.__init__(self, text)
else:

    class Loader(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, Composer):  # type: ignore[no-redef]
        """The same without libyaml."""

        def __init__(self, text: str) -> None:
            yaml.reader.Reader.__init__(self, text)
            yaml.scanner.Scanner.__init__(self)
            yaml.parser.Parser.__init__(self)
            Composer.__init__(self)


class _Values:
    """Values of one document's nodes."""

    def __init__(self) -> None:
        self._within: set[int] = set()
        self._count = 0

    def of(self, node: yaml.Node) -> Any:
        self._count += 1
        if self._count > MOST_VALUES:
            raise NotKubectlError("its aliases grow beyond all bounds")
        if isinstance(node, yaml.ScalarNode):
            return scalar(node.value, node.tag)
        if id(node) in self._within:
            raise NotKubectlError("an anchor's value contains itself")
        self._within.add(id(node))
        value = self._mapping(node) if isinstance(node, yaml.MappingNode) else [self.of(item) for item in node.value]
        self._within.discard(id(node))
        return value

    def _mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        out: dict[Any, Any] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.tag in (_PLAIN, _MERGE):
                for inherited in self._merged(value):
                    out |= inherited  # what stands after it wins, what stands before it does not
            else:
                out[_name(self.of(key))] = self.of(value)
        return out

    def _merged(self, node: yaml.Node) -> Iterator[dict[Any, Any]]:
        """The mappings of a merge, the first of a list last."""
        for one in reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(one, yaml.MappingNode):
                raise NotKubectlError("<< needs a mapping or a list of mappings")
            yield self.of(one)


def scalar(text: str, tag: str = _PLAIN) -> Any:
    """What a scalar means."""
    if tag == _BINARY:
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode(errors="replace")
        except binascii.Error as error:
            raise NotKubectlError("!!binary value contains invalid base64 data") from error
    if tag not in _RESOLVED:
        return text
    value = _resolved(text)
    if tag == _FLOAT and type(value) is int:
        return float(value)
    if tag != _PLAIN and not _fits(value, text, tag):
        raise NotKubectlError(f"cannot decode {text!r} as a !!{tag.removeprefix(_TAG)}")
    return value


def _fits(value: Any, text: str, tag: str) -> bool:
    kinds = {_INT: int, _FLOAT: float, _BOOL: bool, _NULL: type(None)}
    return type(value) is kinds[tag] if tag in kinds else bool(_DATE.fullmatch(text))


def _resolved(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789" or _DATE.fullmatch(text):
        return text
    plain = text.replace("_", "")
    if text[0] == "." and _LOOSE.search(text):
        return text
    if (value := _integer(plain)) is not None and text[0] != ".":
        return value
    if _REAL.fullmatch(plain) and not math.isinf(number := float(plain)):
        return number
    return text


def _integer(plain: str) -> int | None:
    """Of 64 bits with or without a sign, as Go's ParseInt and ParseUint with base 0."""
    if not (found := _INTEGER.fullmatch(plain)):
        return None
    sign, *digits = found.groups()
    base, number = next((base, text) for base, text in zip((16, 8, 2, 10), digits, strict=True) if text)
    value = int(sign + number, base)
    return value if -_INT64 <= value < _INT64 or (not sign and value < _UINT64) else None


def _name(key: Any) -> str:
    """A key as JSON has it."""
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str):
        return key
    if isinstance(key, float):
        return _float32(key)
    if isinstance(key, int) and -_INT64 <= key < _INT64:
        return str(key)
    raise NotKubectlError(f"{key!r} cannot be a key: put it in quotes")


def _float32(value: float) -> str:
    """As Go's FormatFloat(value, 'g', -1, 32), with YAML's words for what is no number."""
    if math.isnan(value):
        return ".nan"
    try:
        single = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        single = math.copysign(math.inf, value)
    if math.isinf(single):
        return ".inf" if single > 0 else "-.inf"
    texts = (f"{single:.{digits}e}" for digits in range(9))
    shortest = next(text for text in texts if struct.pack("f", float(text)) == struct.pack("f", single))
    exponent = int(shortest.partition("e")[2])
    return shortest if exponent < -4 or exponent >= 21 else f"{float(shortest):.9g}" if exponent < 6 else shortest


def _jsonable(value: Any) -> Any:
    """The value after its way through JSON: whole floats are integers, integers beyond 64 bits floats."""
    if isinstance(value, dict):
        return {key: _jsonable(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise NotKubectlError(f"{value!a} holds half a character")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotKubectlError(f"{value} is no number of JSON: put it in quotes if it is a word")
        return int(value) if value.is_integer() and abs(value) < _INT64 else value
    if type(value) is int and not -_INT64 <= value < _INT64:
        return float(value)
    return value
