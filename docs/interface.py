"""What users may build on, one name a line: docs/deprecation.md says how long each of them stays.

    python docs/interface.py     writes docs/interface.txt, as a release does

tests/test_packaging.py holds the package to that file.
"""

import ast
import importlib
import inspect
import json
from enum import EnumType
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "interface.txt"


def names() -> set[str]:
    """All of it as it is now."""
    return python() | command_line() | keys()


def recorded() -> set[str]:
    """What the file has."""
    return set(RECORD.read_text().splitlines())


def python() -> set[str]:
    """Public names by the stubs, with the parameters of what can be called and the members of an enumeration."""
    found = set()
    for stub in sorted((ROOT / "linreg_lora").rglob("__init__.pyi")):
        package = ".".join(stub.parent.relative_to(ROOT).parts)
        (public,) = (
            ast.literal_eval(node.value)
            for node in ast.parse(stub.read_text()).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        )
        loaded = importlib.import_module(package)
        for name in public:
            found.add(f"python {package}.{name}")
            value = getattr(loaded, name)
            if isinstance(value, EnumType):
                found |= {f"python {package}.{name}.{member}" for member in value.__members__}
            elif inspect.isfunction(value) or inspect.isclass(value):
                found |= {f"python {package}.{name}({parameter})" for parameter in _parameters(value)}
    return found


def _parameters(value: Any) -> list[str]:
    try:
        given = inspect.signature(value).parameters.values()
    except ValueError:
        return []
    return [p.name for p in given if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and not p.name.startswith("_")]


def command_line() -> set[str]:
    """Commands and options, but for those that are hidden."""
    import typer

    from linreg_lora.cli import app

    found = set()
    waiting = [("linreg-lora", typer.main.get_command(app))]
    while waiting:
        path, command = waiting.pop()
        found.add(f"command {path}")
        for parameter in command.params:
            if not getattr(parameter, "hidden", False):
                found |= {f"command {path} {option}" for option in [*parameter.opts, *parameter.secondary_opts]}
        waiting += [(f"{path} {name}", sub) for name, sub in getattr(command, "commands", {}).items() if not sub.hidden]
    return found


def keys() -> set[str]:
    """Keys of JSON output by the schemas of docs/schemas."""
    found = set()
    for path in sorted((ROOT / "docs" / "schemas").glob("*.json")):
        schema = json.loads(path.read_text())
        found |= {f"json {path.stem} {key}" for key in _keys(schema, schema.get("$defs", {}), "", ())}
    return found


def _keys(schema: Any, definitions: dict[str, Any], at: str, within: tuple[str, ...]) -> set[str]:
    """Paths of keys below a schema; `[]` is any item of an array. `within`: definitions that are being followed."""
    if not isinstance(schema, dict):
        return set()
    found = set()
    name = schema.get("$ref", "").rpartition("/")[2]
    if name and name not in within:
        found |= _keys(definitions[name], definitions, at, (*within, name))
    for key, inner in schema.get("properties", {}).items():
        here = f"{at}.{key}" if at else key
        found |= {here} | _keys(inner, definitions, here, within)
    for word in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(word, []):
            found |= _keys(inner, definitions, at, within)
    for inner in [schema.get("items"), *schema.get("prefixItems", [])]:
        found |= _keys(inner, definitions, f"{at}[]", within)
    return found | _keys(schema.get("additionalProperties"), definitions, f"{at}.*", within)


if __name__ == "__main__":
    RECORD.write_text("".join(f"{name}\n" for name in sorted(names())))
