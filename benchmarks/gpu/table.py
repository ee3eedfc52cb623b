"""What was found as Markdown."""

from typing import Any


def markdown(found: dict[str, Any]) -> str:
    """One section for each part, a row for each thing that was found."""
    lines = [f"# GPU: {found['given']}", ""]
    for name, part in found["parts"].items():
        lines += [f"## {name}: {part['status']}, {part.get('seconds', 0.0):.1f} s", ""]
        lines += _rows(part["found"])
        if "error" in part:
            lines += ["", "```", part["error"].strip(), "```"]
        lines += [""]
    return "\n".join(lines)


def _rows(found: dict[str, Any]) -> list[str]:
    if not found:
        return []
    return ["| | |", "|---|---|", *(f"| {key} | {_cell(value)} |" for key, value in found.items())]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(_cell, value))
    return " ".join(str(value).replace("|", "/").split())
