"""Draws rooms.svg from the order that tests/test_rooms.py holds: python docs/img/rooms.py > docs/img/rooms.svg."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHAT = {
    "foundation": "errors, derived seeds, files that are complete or absent, interrupts",
    "config": "frozen settings, one class for each stage; presets",
    "expressions": "the operator table, trees, parser and printer, crossover, mutation",
    "losses": "what training calls: symbolic, Taylor, neural, handcrafted; files, exports",
    "executors": "where work is done: here, in processes, on Ray; knows nothing of losses",
    "tasks": "what is learned on: data, models, metrics",
    "training": "one loop, one optimiser interface; one network or many at once",
    "local_search": "gradients of the task loss with respect to φ, and Adam on φ",
    "engines": "who proposes: genetic programming, CMA-ES; ask and tell, no training",
    "evaluation": "what a candidate is worth: filters, fitness, racing, finals; no selection",
    "store": "the run folder: journal, checkpoint, lock",
    "search": "the outer loop, the methods made of what lies below; result and verdict",
    "comparison": "losses beside one another over seeds",
    "analysis": "what can be read off a loss or a run, in numbers",
    "report": "figures, the HTML page, tables, progress, TensorBoard",
    "reproduction": "the paper's tables and figures, beside its own numbers",
    "sklearn": "estimators for scikit-learn",
    "cli": "commands, no logic of their own",
}
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2430; } .name { font: 600 13px ui-monospace, monospace; }
  rect { fill: #eef1fa; stroke: #8892b8; } .heart rect { fill: #dbe3ff; stroke: #3f51b5; stroke-width: 2; }
  path { stroke: #5b6480; fill: none; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) { text { fill: #e6e8f0; } rect { fill: #2a2f3d; stroke: #6b7494; }
    .heart rect { fill: #323c66; stroke: #8fa0ff; } path { stroke: #a0a8c4; } }
"""
HEART = ("engines", "evaluation", "search")


def order() -> list[str]:
    """The rooms as the test has them."""
    tree = ast.parse((ROOT / "tests" / "test_rooms.py").read_text(encoding="utf-8"))
    (rooms,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ROOMS"
    )
    return list(ast.literal_eval(rooms))


def drawn() -> str:
    """The picture: what stands below is known to what stands above it, and never the other way round."""
    rooms, step = order()[::-1], 34
    height = len(rooms) * step + 20
    rows = []
    for place, room in enumerate(rooms):
        y = 10 + place * step
        kind = ' class="heart"' if room in HEART else ""
        rows.append(
            f'<g{kind}><rect x="60" y="{y}" width="690" height="28" rx="5"/>'
            f'<text class="name" x="74" y="{y + 19}">{room}</text>'
            f'<text x="190" y="{y + 19}">{WHAT[room]}</text></g>'
        )
    arrow = f'<path d="M30 20 V{height - 24} m-6 -10 l6 10 l6 -10"/>'
    label = f'<text transform="translate(20 {height // 2}) rotate(-90)" text-anchor="middle">imports</text>'
    title = f"<title>The {len(rooms)} rooms of evomal; imports point downwards only</title>"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" width="760" role="img">'
    return "\n".join([head, title, f"<style>{STYLE}</style>", arrow, label, *rows, "</svg>"])


if __name__ == "__main__":
    print(drawn())
