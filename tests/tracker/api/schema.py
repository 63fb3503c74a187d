"""As much of JSON Schema as the OpenAPI document uses."""

import re
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def problems(document: Any, schema: Any, value: Any, at: str = "$") -> list[str]:
    """What is wrong with ``value``; fields that the schema does not name are wrong too."""
    if "$ref" in schema:
        place = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        return problems(document, place, value, at)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return [f"{at} is {value!r}, not {kinds}"]
    found = []
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{at} is {value!r}, not like {schema['pattern']}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at} is {value!r}, not one of {schema['enum']}")
    if isinstance(value, dict) and "properties" in schema:
        named = schema["properties"]
        found += [f"{at} lacks {key}" for key in schema.get("required", []) if key not in value]
        found += [f"{at} has {key}, which is not documented" for key in value.keys() - named]
        for key in named.keys() & value.keys():
            found += problems(document, named[key], value[key], f"{at}.{key}")
    if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        for key, each in value.items():
            found += problems(document, schema["additionalProperties"], each, f"{at}.{key}")
    if isinstance(value, list) and "items" in schema:
        for number, each in enumerate(value):
            found += problems(document, schema["items"], each, f"{at}[{number}]")
    return found
