"""A loss learned inside scikit-learn: an estimator in a pipeline, cross-validated, with names for its classes."""

from sklearn.datasets import load_wine
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from evomal.sklearn import LossSearchClassifier

SMALL = {"population_size": 4, "generations": 2, "meta_steps": 5, "partial_steps": 20, "start_from": ("cross_entropy",)}


def main() -> None:
    """Serious searches leave `settings` out, and take minutes."""
    wine = load_wine()
    names = wine.target_names[wine.target]
    classifier = LossSearchClassifier(preset="quick", settings=SMALL, steps=60, random_state=0)
    pipeline = make_pipeline(SimpleImputer(), classifier)
    print(f"accuracy {cross_val_score(pipeline, wine.data, names, cv=2).mean():.3f}")
    classifier.fit(wine.data, names)
    print(f"trained with {classifier.loss_.formula()} at rate {classifier.lr_:.3g}")
    probabilities = classifier.predict_proba(wine.data[:1])[0]
    print(", ".join(f"{name} {p:.3f}" for name, p in zip(classifier.classes_, probabilities, strict=True)))


if __name__ == "__main__":
    main()
