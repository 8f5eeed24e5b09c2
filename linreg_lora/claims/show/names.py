"""What claims files can name, with one line each: for people a table a kind, for programs JSON."""

import inspect
from typing import Any

from linreg_lora.claims import registry, settings
from linreg_lora.errors import InvalidInput


def to_records(word: str = "") -> dict[str, list[dict[str, Any]]]:
    """Kind (predictions, experiments, domains, predicates, methods) -> what there is, by name.

    `word`: only what has it in its name or description, in capitals or not. Raises `InvalidInput` where nothing has.
    """
    kinds = {**registry.functions(), "method": registry.methods()}
    records = {f"{kind}s": [_record(kind, name, kinds[kind][name]) for name in sorted(kinds[kind])] for kind in kinds}
    found = {kind: [record for record in records[kind] if _has(record, word)] for kind in records}
    if not any(found.values()):
        raise InvalidInput("word", "a part of a name or description", word, "without a word all are listed")
    return found


def tables(word: str = "") -> list[Any]:
    """A rich table for each kind of which there is something."""
    from rich.table import Table
    from rich.text import Text

    out = []
    for kind, records in to_records(word).items():
        if not records:
            continue
        table = Table(title=f"{kind.capitalize()} ({len(records)})", title_justify="left", row_styles=["", "dim"])
        for name in ("name", "about", "settings", "what it is"):
            table.add_column(name, overflow="fold")
        for record in records:
            extra = record.get("settings", record.get("fields", []))
            shown = ", ".join(_shown(name, record.get("accepts", {}).get(name, "")) for name in extra)
            table.add_row(*map(Text, (record["name"], record.get("case", ""), shown, record["summary"])))
        out.append(table)
    return out


def _shown(name: str, accepts: str) -> str:
    return f"{name}: {accepts}" if accepts else name


def _has(record: dict[str, Any], word: str) -> bool:
    return any(word.casefold() in record[key].casefold() for key in ("name", "summary"))


def _record(kind: str, name: str, made: Any) -> dict[str, Any]:
    record: dict[str, Any] = {"name": name, "module": getattr(made, "__module__", "")}
    if kind == "prediction":
        record["case"] = registry.prediction(name).case.__name__
    elif kind == "experiment":
        experiment = registry.experiment(name)
        record |= {"case": experiment.case.__name__, "settings": list(experiment.settings)}
        record["accepts"] = {name: setting.said for name, setting in settings.of(experiment.run).items()}
        record["measures"] = "single draws" if experiment.pathwise else "means"
    elif kind == "domain":
        record |= {"case": registry.domain(name).case.__name__, "fields": list(made.model_fields)}
    return {**record, "summary": summary(made)}


def summary(made: Any) -> str:
    """The first sentence of a docstring, or its first line; empty where there is none."""
    text = (inspect.getdoc(made) or "").partition("\n\n")[0]
    return " ".join(text.split())
