"""The reference of file formats, from the JSON schemas in docs/schemas and the examples that tests read."""

import json
from typing import Any

from sitemaker import ROOT
from sitemaker.page import Page

ORIGIN = "docs/schemas"


def page() -> Page:
    """Each schema's keys, nested ones by their path; and a sweep file, as an example."""
    parts = [
        "# File formats",
        "What commands print with `--format json`, by the schemas that their tests check it against, and the files "
        "that commands read. Numbers that do not exist are `null`. Keys are added, never renamed.",
    ]
    for path in sorted((ROOT / "docs" / "schemas").glob("*.json")):
        schema = json.loads(path.read_text())
        required, rows = keys(schema)
        parts += [f"## {schema['title']}", f"[The schema](schemas/{path.name})."]
        parts += [_entry(key, kind, said, key in required) for key, kind, said in rows]
    sweep = (ROOT / "docs" / "sweep.yaml").read_text()
    parts += [
        "## A sweep file",
        "Read by `linreg-lora sweep`: a problem, the axes along which it varies, and what to compute "
        "([docs/sweep.yaml](sweep.yaml)). The results are NetCDF, and open with `xarray.open_dataset`.",
        f"```yaml\n{sweep}```",
        "## A claims file",
        "`linreg-lora claims new NAME` writes a commented one; [Judge a paper](judge-your-paper.md) goes through it. "
        "The package's own are [paper_claims.yaml](../paper_claims.yaml) and one file a paper.",
    ]
    return Page("reference/file-formats.md", "File formats", ORIGIN, "\n\n".join(parts) + "\n")


def keys(schema: dict[str, Any], prefix: str = "") -> tuple[set[str], list[tuple[str, str, str]]]:
    """Required keys, and (path, type, description) of all; `[]` stands for each item, `*` for any key."""
    root = schema

    def walk(part: dict[str, Any], path: str) -> None:
        if "$ref" in part:
            target: Any = root
            for step in part["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            if path.count(".") < 6:
                walk(target, path)
            return
        for name, inner in part.get("properties", {}).items():
            full = f"{path}.{name}" if path else name
            rows.append((full, _kind(inner), inner.get("description", "")))
            if name in part.get("required", []):
                required.add(full)
            walk(inner, full)
        if isinstance(part.get("items"), dict):
            walk(part["items"], f"{path}[]")
        if isinstance(part.get("additionalProperties"), dict):
            walk(part["additionalProperties"], f"{path}.*" if path else "*")
        for choice in (*part.get("anyOf", ()), *part.get("oneOf", ())):
            walk(choice, path)

    required: set[str] = set()
    rows: list[tuple[str, str, str]] = []
    walk(schema, prefix)
    return required, rows


def _kind(part: dict[str, Any]) -> str:
    if "enum" in part:
        return "one of " + ", ".join(json.dumps(value) for value in part["enum"])
    if "const" in part:
        return json.dumps(part["const"])
    kind = part.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else kind


def _entry(key: str, kind: str, said: str, required: bool) -> str:
    facts = ", ".join(filter(None, [kind, "" if required else "not always there"])) or "any value"
    return f"`{key}`\n:   {facts}. {said}".rstrip()
