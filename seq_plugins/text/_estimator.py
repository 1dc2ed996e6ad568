"""What the estimators share."""

from copy import deepcopy
from typing import Any, Self

from sklearn.base import clone

from seq_plugins.text.word_vectors import check_not_copied


class TextEstimator:
    """An estimator of texts, whose parameter `vectors` is never copied: word vectors may take gigabytes."""

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

    def set_params(self, **params: Any) -> Self:
        """Set parameters, as scikit-learn's estimators do.

        Parameters
        ----------
        **params
            Their names and values. Other `vectors` than the present ones are a name, a path, or
            :class:`SharedWordVectors`.

        Returns
        -------
        TextEstimator
            This estimator.

        Raises
        ------
        TypeError
            If `vectors` are gensim's object, which a grid search would copy for each fit.
        """
        estimator: Any = super()
        if "vectors" in params and params["vectors"] is not vars(self)["vectors"]:
            check_not_copied(params["vectors"])
        estimator.set_params(**params)
        return self

    def __sklearn_tags__(self) -> Any:
        estimator: Any = super()
        tags = estimator.__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        return tags
