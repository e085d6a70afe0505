"""How is YAML read and written, so that a person's file means what it says and mistakes are pointed at?"""

import re
from typing import Any, ClassVar

import yaml
from yaml.composer import ComposerError
from yaml.reader import ReaderError

from gateway.model.errors import InvalidConfiguration

TAG = "tag:yaml.org,2002:"
JSON_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")

PLAIN_VALUES = (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", r"^[-+]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?$", list("-+0123456789")),
    ("merge", r"^<<$", ["<"]),
)
"""As in YAML 1.2: `no`, `10:30`, `0800` and dates stay the text that they look like."""


def load(content: bytes | str) -> Any:
    """The document as JSON values; keys are text. Raises InvalidConfiguration, naming line and column."""
    try:
        return yaml.load(content, _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        began = f" from line {error.context_mark.line + 1}" if error.context_mark else ""
        context = f" ({error.context}{began})" if error.context else ""
        raise InvalidConfiguration(f"{where}{error.problem}{context}") from None
    except ReaderError as error:
        raise InvalidConfiguration(f"position {error.position}: not text: {error.reason}") from None
    except RecursionError:
        raise InvalidConfiguration("nested too deeply") from None
    except ValueError as error:
        raise InvalidConfiguration(f"a value cannot be read: {error}") from None


def dump(value: Any) -> str:
    """JSON values as YAML, in their own order; texts of several lines as blocks."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        # Only these tags: nothing becomes a date, a set or bytes.
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(TAG) in JSON_TAGS
    }

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value if node else ():
            if not isinstance(key, yaml.ScalarNode):
                raise ComposerError(None, None, "a key should be text", key.start_mark)
            if key.tag == f"{TAG}merge":
                continue
            key.tag = f"{TAG}str"
            if key.value in lines:
                problem = f"the key {key.value!r} is there twice, first in line {lines[key.value]}"
                raise ComposerError(None, None, problem, key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return node


for _tag, _form, _first in PLAIN_VALUES:
    _Loader.add_implicit_resolver(f"{TAG}{_tag}", re.compile(_form), _first)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(f"{TAG}str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
