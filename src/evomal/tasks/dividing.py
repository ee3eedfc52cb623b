"""Training and validation data: one split divided in two, or both taken together again."""

from dataclasses import replace

import torch

from evomal.foundation.errors import DataError, SettingError
from evomal.tasks.sampling import split_off, strata
from evomal.tasks.splits import AnySplit, LazySplit, Split


def train_and_valid(split: AnySplit, fraction: float, classes: bool, dataset: str) -> tuple[AnySplit, AnySplit]:
    """A training split without a part of it, and this part as validation data, always in the same way.

    Args:
        split: The training split.
        fraction: Share that becomes validation data.
        classes: Whether targets are class labels: those that are ignored stay, and the rest is stratified.
        dataset: Name of the data set, for messages.

    Raises:
        SettingError: The fraction is no share.
        DataError: Too few instances count.
    """
    if not isinstance(fraction, int | float) or not 0 < fraction < 1:
        raise SettingError(f"valid_fraction is {fraction!r}; choose a share above 0 and below 1, such as 0.1")
    mask = split.counted if classes else None
    rows = torch.arange(len(split)) if mask is None else mask.nonzero()[:, 0]
    if len(rows) < 2:
        what = "1 instance" if mask is None else f"{len(rows)} instance with a label that counts"
        raise DataError(
            f"the training split of data set '{dataset}' has {what}, which leaves none for "
            "validation; give valid=(x, y)"
        )
    labels = strata(split.y) if classes else None
    # Only what has a label can tell how good a loss is.
    _, off = split_off(len(rows), fraction, None if labels is None else labels.cpu()[rows])
    stay = torch.ones(len(split), dtype=torch.bool)
    stay[rows[off]] = False
    return split.subset(stay.nonzero()[:, 0]), split.subset(rows[off])


def are_of_one_form(train: AnySplit, valid: AnySplit) -> bool:
    """Whether two splits that were given can be joined: tensors, with the same normalisation."""
    if not isinstance(train, Split) or not isinstance(valid, Split):
        return False
    return train.normalisation == valid.normalisation


def joined(train: AnySplit, valid: AnySplit) -> AnySplit:
    """Two splits of one form, or two parts of one, as a single split, not augmented."""
    if isinstance(train, Split) and isinstance(valid, Split):
        x, y = torch.cat([train.x, valid.x]), torch.cat([train.y, valid.y])
        return Split(x, y, train.normalisation, form=train.form)
    assert isinstance(train, LazySplit)  # one data set, divided here
    assert isinstance(valid, LazySplit)
    rows = torch.cat([train.rows, valid.rows])
    return replace(train, rows=rows, y=None if train.y is None or valid.y is None else torch.cat([train.y, valid.y]))
