"""Makes docs/notebook.md of examples/notebook.ipynb, outputs and all: python docs/notebook.py.

The notebook itself is run anew by `jupyter nbconvert --to notebook --execute --inplace examples/notebook.ipynb`.
"""

import base64
import json
from pathlib import Path

DOCS = Path(__file__).parent
NOTEBOOK = DOCS.parent / "examples" / "notebook.ipynb"


def page(images: Path | None = None) -> str:
    """The notebook as Markdown; its pictures are written to a folder where one is given."""
    parts: list[str] = []
    for number, cell in enumerate(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            if picture := output.get("data", {}).get("image/png"):
                name = f"notebook-{number}.png"
                if images is not None:
                    (images / name).write_bytes(base64.b64decode(picture))
                parts.append(f"![What the cell drew](img/{name})")
        if text := "".join(line for output in cell["outputs"] for line in output.get("text", ())):
            parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    (DOCS / "notebook.md").write_text(page(DOCS / "img"), encoding="utf-8")
