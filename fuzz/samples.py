"""Valid files and texts, from which odd ones are made."""

import json
from typing import Any

HEAD = {"format": "evomal-loss", "version": 1}
FORMULAS = (
    "y", "add(y, f)", "abs(log(mul(y, f)))", "sub(tanh(mul(f, add(y, 1))), mul(y, log(f)))",
    "div(square(sub(y, f)), sqrt(max(min(y, f), sign(-1))))",
)  # fmt: skip
PAST = {
    "learned_on": {"task": "iris-linear", "dataset": "iris", "model": "linear", "metric": "error_rate"},
    "method": "evomal", "seed": 3, "fitness": 0.125, "baseline": {"loss": "cross_entropy", "fitness": 0.5},
    "found": {"generation": 1, "index": 2}, "tuned_for": {"optimiser": "sgd", "lr": 0.1, "gradient_norm_ratio": 1e-3},
    "versions": {"evomal": "0.1.0"},
}  # fmt: skip


def symbolic(formula: str = FORMULAS[2], **entries: Any) -> dict[str, Any]:
    """The entries of a symbolic loss with distinct coefficients."""
    edges = sum(formula.count(mark) for mark in "(,")
    weights = [1.0 + 0.25 * edge for edge in range(edges)]
    return {"family": "symbolic", "task_type": "classification", "expression": formula, "weights": weights} | entries


TAYLOR = {"family": "taylor", "task_type": "regression", "weights": [0.5, -0.5, 0.1, 2.0, 0.0, -1.0, 0.25, 3.0]}
NEURAL = {"family": "neural", "task_type": "classification", "hidden": 2, "weights": [0.5, -0.25] * 5}


def loss_files() -> list[bytes]:
    """A file of every family and setting."""
    documents: list[dict[str, Any]] = [
        symbolic(),
        symbolic(FORMULAS[4], task_type="regression", output_activation="softplus", scale=0.5),
        symbolic(FORMULAS[3]) | PAST,
        TAYLOR | PAST,
        TAYLOR | {"task_type": "classification", "scale": 2},
        NEURAL | {"note": "φ", "nested": [[{"a": None}], -0.0, 1e308]},
    ]
    return [json.dumps(HEAD | document).encode() for document in documents]


def journals() -> list[bytes]:
    """The lines of three searches, shortened."""
    common = {"origin": "initial", "parents": [], "score": 0.5, "same_as": None, "tuned_steps": 3, "trainings": 1}
    common |= {"reason": None, "seed": 0, "seconds": {"tuning": 0.1}, "signature": "0123456789abcdef"}
    kinds = [symbolic() | {"output_activation": "identity"}, TAYLOR, NEURAL]
    found = [("trained", 0.25), ("rejected", None), ("equivalent", 0.25), ("failed", None), ("dropped", 0.5)]
    texts = []
    for kind in kinds:
        lines = [
            {"generation": number // 2, "index": number % 2, **kind, **common, "outcome": outcome, "fitness": fitness}
            for number, (outcome, fitness) in enumerate(found)
        ]
        lines[3]["weights"] = None if kind["family"] == "symbolic" else kind["weights"]
        texts.append("".join(json.dumps(line) + "\n" for line in lines).encode())
    return texts


def yaml_files() -> list[bytes]:
    """Settings in several styles."""
    block = (
        "seed: 3\nbase:\n  lr: 0.01\n  nesterov: false\nlrs: [0.1, 1.0e-3]\nname: 'a: b'\nnothing: null\nnotes:\n- x\n"
    )
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: !!python/name:os.system\nd: 2020-01-01\ne: {<<: *b}\n? [f]\n: |\n  text\n"
    return [block.encode(), bomb.encode(), json.dumps({"method": "evomal", "base": {"lr": 0.5}}).encode()]
