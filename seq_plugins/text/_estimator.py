"""What the estimators share."""

from copy import deepcopy
from typing import Any, Self

from sklearn.base import clone


class SharedVectors:
    """Lets ``sklearn.base.clone`` hand on the parameter `vectors` as it is: word vectors may take gigabytes."""

    def __sklearn_clone__(self) -> Self:
        estimator: Any = self
        parameters = {
            name: value if name == "vectors" else clone(value, safe=False)
            for name, value in estimator.get_params(deep=False).items()
        }
        copy = type(self)(**parameters)
        for attribute in ("_metadata_request", "_sklearn_output_config"):  # as scikit-learn's own clone does
            if attribute in vars(self):
                setattr(copy, attribute, deepcopy(getattr(self, attribute)))
        return copy
