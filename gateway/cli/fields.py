"""How is a setting described to a person: its name, type, default and meaning?"""

from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from gateway.validation import secret_fields

WORDS = {
    "string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "null": "null",
    "object": "mapping", "array": "list",
}  # fmt: skip


def described(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Each setting's `name, type, required, default, secret, description`, in the model's order."""
    schema = model.model_json_schema()
    hidden = secret_fields(model)
    found = []
    for name, field in model.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        row = {
            "name": field.alias or name,
            "type": _words(schema["properties"][field.alias or name], schema.get("$defs", {})),
            "required": field.is_required(),
            "default": None if name in hidden else as_json(default),
            "secret": name in hidden,
            "description": field.description or "",
        }
        found.append(row)
    return found


def as_json(value: Any) -> Any:
    return to_jsonable_python(value, by_alias=True)


def _words(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    match schema:
        case {"$ref": str(ref)}:
            return _words(defs[ref.rpartition("/")[2]], defs)
        case {"enum": list(values)}:
            return " | ".join(map(str, values))
        case {"anyOf": list(options)}:
            return " or ".join(dict.fromkeys(_words(option, defs) for option in options))
        case {"format": "password"}:
            return "secret"
        case {"type": "array", "items": dict(items)}:
            return f"list of {_words(items, defs)}"
        case {"type": "object", "properties": dict(properties)}:
            return f"mapping of {', '.join(properties)}"
        case {"type": str(kind)}:
            return WORDS[kind] + _bounds(schema)
    return "anything"


def _bounds(schema: dict[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    signs = ((">=", low), (">", above), ("<=", high), ("<", below))
    bounds = [f"{sign} {value}" for sign, value in signs if value is not None]
    return f" ({', '.join(bounds)})" if bounds else ""
