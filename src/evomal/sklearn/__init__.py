"""Estimators of scikit-learn: a network, trained with the loss that a search found for these data.

They stand apart, as importing them imports scikit-learn: `from evomal.sklearn import LossSearchClassifier`.
"""

from evomal.sklearn.estimators import LossSearchClassifier, LossSearchRegressor

__all__ = ["LossSearchClassifier", "LossSearchRegressor"]
