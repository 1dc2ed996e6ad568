"""The sentiment classifier: a convolutional network over word vectors, as a scikit-learn classifier of texts."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from math import ceil
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted

from seq_plugins._arguments import check_choice, check_number
from seq_plugins._forking import use_one_thread_after_fork
from seq_plugins._progress import progress_bar
from seq_plugins.text._estimator import TextEstimator
from seq_plugins.text.checks import check_labels, check_sample_weight, check_texts
from seq_plugins.text.documents import Documents, WordTable
from seq_plugins.text.encoding import NumberedTexts
from seq_plugins.text.explanation import Explanation, explain_document, with_ngrams
from seq_plugins.text.linear_classifier import NgramClassifier, fit_weights
from seq_plugins.text.mixture import Mixture, fit_mixture
from seq_plugins.text.network import SentimentNetwork
from seq_plugins.text.ngrams import NgramVocabulary
from seq_plugins.text.saving import load_classifier, save_classifier
from seq_plugins.text.tokenizing import Tokenizer
from seq_plugins.text.training import LabelledDocuments, Settings, Trainer, compute_logits
from seq_plugins.text.typed_text import TokenizerChoice, check_tokenizer
from seq_plugins.text.vectorizer import Word2VecVectorizer
from seq_plugins.text.word_vectors import train_word_vectors

# N: documents, C: classes

MAX_SEED = 2**31 - 1
FEWEST_TEXTS = 50  # below which nothing can be learnt from texts that are set aside
FEW_TEXTS = 1000  # below which texts are too few to set some of them aside for good
N_PARTS = 5
LECTURE: Mapping[str, Any] = {
    "maxlen": 400,
    "num_filters": 250,
    "kernel_size": 3,
    "hidden_dim": 250,
    "dropout": 0.2,
    "train_embeddings": False,
    "ngrams": None,
    "tokenizer": "treebank",
    "learning_rate": 1e-3,
    "n_epochs": 2,
    "early_stopping": False,
}
"""Arguments of the lecture's network."""


class SentimentClassifier(TextEstimator, ClassifierMixin, BaseEstimator):
    """Classifies texts with a convolutional network over word vectors, combined with a linear classifier of n-grams.

    The network [1]_ has filters over one, two and three words, ReLU, the largest value of each filter over the
    document, a hidden layer, dropout, ReLU, and one sigmoid unit, or a softmax with more than two classes; it is
    trained with Adam on the cross-entropy. The linear classifier is a logistic regression over words, word pairs and
    parts of words that are weighted by naive Bayes [2]_, with square roots of the log-count ratios, and a
    text's values divided by the square root of their number. The two logits are added with weights that are learned on
    held-out documents: a tenth of the documents or, with fewer than a thousand, each of five folds in
    turn, after which the network is trained again on all. The network's weight is 0 if it does not help. Fewer
    than 50 documents are too few to learn the weights: they are then 1, and a half for the network. :meth:`lecture`
    returns the lecture's network alone.

    Documents are stored as word ids, never as arrays of vectors, and the convolution is computed once for each distinct
    word of a batch. Words without a vector are left out, then the text is truncated to `maxlen` words. A document
    without any known word gets the class prior, with a warning; in training it is left out.

    Parameters
    ----------
    vectors
        gensim's ``KeyedVectors``, or what :func:`load_word_vectors` takes; ``None``: 100 dimensions are trained on the
        texts of ``fit``. They are shared, not copied, also by ``sklearn.base.clone``; in a grid search over several,
        objects are to be :class:`SharedWordVectors`.
    maxlen
        Maximum number of words of a document; the rest is ignored.
    num_filters
        Number of filters of each kernel size.
    kernel_size
        Number of words that a filter sees at once, or several such numbers for filters side by side.
    hidden_dim
        Number of units of the hidden layer.
    dropout
        Fraction of the hidden units that is dropped in training.
    train_embeddings
        Whether to also train the vectors of the training texts' words, starting from `vectors`, which are not changed.
    oov
        How to treat words without a vector: ``"skip"``, ``"zero"`` or ``"random"``; see
        :class:`Word2VecVectorizer`.
    lowercase
        Whether to look up words in lower case; ``"auto"``: if hardly any word of the vectors has a capital letter.
    ngrams
        Number of words of the longest n-grams of the linear classifier; ``None``: the network alone. N-grams are in
        lower case and include words without a vector, and the four-letter parts of each word.
    tokenizer
        Function from a text to a list of its tokens, ``"treebank"``, or ``None`` for those of texts as they are typed;
        see :class:`Word2VecVectorizer`.
    learning_rate
        Learning rate of Adam.
    batch_size
        Number of documents per batch.
    n_epochs
        Maximum number of epochs of ``fit``.
    class_weight
        Weight of each class, a dictionary from label to number; ``"balanced"``: all classes have the same total weight.
    early_stopping
        Whether ``fit`` stops when the loss on held-out documents has not improved for `patience` epochs, and
        keeps the weights of the best epoch. With fewer than 50 documents, or only one of some class, none are held
        out.
    validation_fraction
        Fraction of the documents that is held out, with `early_stopping` or `ngrams`; with `ngrams`, fewer than a
        thousand documents are held out in five folds.
    patience
        Number of epochs to wait for an improvement.
    device
        PyTorch's device, such as ``"cpu"`` or ``"cuda"``; ``"auto"``: a GPU if there is one.
    n_jobs
        Number of processes for tokenizing; see :class:`Word2VecVectorizer`.
    verbose
        Whether to show a progress bar for work that takes longer than a second.
    random_state
        Seed, or NumPy's ``RandomState``. PyTorch's global generator is neither used nor changed.

    Attributes
    ----------
    classes_
        The labels, sorted, `(C,)`.
    class_prior_
        Weighted share of each class in the training texts, `(C,)`.
    vectorizer_
        The fitted :class:`Word2VecVectorizer`.
    network_
        The network.
    history_
        For each epoch of the network, its number, the mean loss, and the validation loss if documents were held out.
    n_epochs_
        Number of epochs trained.
    ngrams_
        The fitted linear classifier, or ``None``.
    mixture_
        With `ngrams`: the weights of the linear classifier and the network, and the offsets added to their sum.

    References
    ----------
    .. [1] Y. Kim, "Convolutional Neural Networks for Sentence Classification", 2014, https://arxiv.org/abs/1408.5882
    .. [2] S. Wang, C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification", 2012,
           https://aclanthology.org/P12-2018

    Examples
    --------
    >>> from seq_plugins.text import SentimentClassifier
    >>> texts = ["a fine film", "a dull film", "what a fine story", "what a dull story"] * 10
    >>> classifier = SentimentClassifier(random_state=1)
    >>> classifier.fit(texts, ["good", "bad"] * 20).predict(["fine", "so dull"]).tolist()
    ['good', 'bad']
    """

    classes_: np.ndarray
    class_prior_: np.ndarray
    vectorizer_: Word2VecVectorizer
    network_: SentimentNetwork
    history_: list[dict[str, float]]
    n_epochs_: int
    ngrams_: NgramClassifier | None
    mixture_: Mixture | None
    _class_totals: np.ndarray
    _trainer: Trainer | None

    def __init__(
        self,
        vectors: Any = None,
        maxlen: int = 1000,
        num_filters: int = 100,
        kernel_size: int | Sequence[int] = (1, 2, 3),
        hidden_dim: int = 100,
        dropout: float = 0.5,
        train_embeddings: bool = True,
        oov: str = "skip",
        lowercase: bool | str = "auto",
        ngrams: int | None = 2,
        tokenizer: TokenizerChoice = None,
        learning_rate: float = 2e-3,
        batch_size: int = 32,
        n_epochs: int = 15,
        class_weight: Any = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        patience: int = 2,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: bool = True,
        random_state: Any = None,
    ) -> None:
        self.vectors = vectors
        self.maxlen = maxlen
        self.num_filters = num_filters
        self.kernel_size = kernel_size
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.train_embeddings = train_embeddings
        self.oov = oov
        self.lowercase = lowercase
        self.ngrams = ngrams
        self.tokenizer = tokenizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    @classmethod
    def lecture(cls, vectors: Any = None, **arguments: Any) -> Self:
        """Return an untrained classifier that is the lecture's network for movie reviews.

        It has no linear classifier: 250 filters over three words of the first 400, frozen vectors, 250 hidden
        units with a dropout of one fifth; two epochs with Adam's default learning rate; the tokens of NLTK's
        ``TreebankWordTokenizer``.

        Parameters
        ----------
        vectors
            As in the class.
        **arguments
            Further arguments, which override the lecture's.
        """
        return cls(vectors, **{**LECTURE, **arguments})

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network, and a new linear classifier.

        Parameters
        ----------
        X
            Texts.
        y
            Their labels: strings, whole numbers or booleans.
        sample_weight
            Weight of each text in the loss; ones if ``None``. Texts with weight zero are left out.

        Returns
        -------
        SentimentClassifier
            This classifier.

        Raises
        ------
        TypeError, ValueError
            If an argument, a text, a label or a weight is invalid, there is only one class, or no text has
            a word with a vector. The classifier then keeps its previous state, as after an interruption.
        """
        use_one_thread_after_fork()
        self._check_arguments()
        texts, labels, weights = self._check_samples(X, y, sample_weight)
        classes = np.unique(labels[weights > 0])
        if len(classes) < 2:
            raise ValueError(f"Expected at least two classes in y, got one class only, {classes.tolist()[0]!r}.")
        with self._restored_after_failure():
            self._fit_anew(texts, labels, weights, classes)
        return self

    def _fit_anew(self, texts: list[str], labels: np.ndarray, weights: np.ndarray, classes: np.ndarray) -> None:
        trainer, numbered, documents = self._begin(texts, classes)
        labelled = self._label(documents, labels, weights)
        self._set_prior(labelled, np.zeros(len(classes)))
        learned = self._with_words(labelled)
        folds = self._set_aside(learned.codes)
        if len(folds) > 1:
            logits, n_epochs = self._cross_fit(learned, folds)
            self.history_ = self._train(trainer, learned, n_epochs)
        else:
            logits, self.history_ = self._train_without(trainer, learned, folds[0] if folds else np.zeros(0, np.int64))
        self.n_epochs_ = len(self.history_)
        if self.ngrams is not None:
            kept = np.flatnonzero(weights > 0)
            if len(kept) < len(weights):
                numbered = numbered._replace(documents=numbered.documents.take(kept))
            self._fit_ngrams(self._weigh_classes(labelled), numbered, folds, logits)

    def _train(
        self,
        trainer: Trainer,
        learned: LabelledDocuments,
        n_epochs: int,
        validated: LabelledDocuments | None = None,
    ) -> list[dict[str, float]]:
        return trainer.train(learned, n_epochs, validated, self.patience, is_quiet=not self.verbose)

    def _train_without(
        self, trainer: Trainer, learned: LabelledDocuments, held_out: np.ndarray
    ) -> tuple[np.ndarray, list[dict[str, float]]]:
        """Train a network without some documents; return its logits of these, `(held out, O)`, and the history."""
        rest = learned.take(np.setdiff1d(np.arange(len(learned.codes)), held_out))
        others = learned.take(held_out)
        history = self._train(trainer, rest, self.n_epochs, others if self.early_stopping and len(held_out) else None)
        return compute_logits(trainer.network, trainer.table, others.documents, trainer.settings), history

    def _cross_fit(self, learned: LabelledDocuments, folds: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
        """Train a network for each fold, without it.

        Returns
        -------
        tuple[np.ndarray, int]
            The logits of the folds' documents, fold by fold, `(N, O)`, and how many epochs were best on average.
        """
        logits, n_epochs = [], []
        for held_out in folds:
            trainer = self._make_trainer(self._make_network(), copy(self.vectorizer_.table_))
            found, history = self._train_without(trainer, learned, held_out)
            logits.append(found)
            best = min(history, key=itemgetter("validation_loss")) if self.early_stopping else history[-1]
            n_epochs.append(best["epoch"])
        return np.concatenate(logits), round(float(np.mean(n_epochs)))

    @contextmanager
    def _restored_after_failure(self) -> Iterator[None]:
        """Make the classifier what it was before, if what is done ends with an error or is interrupted."""
        before, network = dict(vars(self)), getattr(self, "network_", None)
        weights = {} if network is None else {name: each.clone() for name, each in network.state_dict().items()}
        try:
            yield
        except BaseException:
            self.__dict__ = before
            if network is not None and not all(
                torch.equal(weights[name], each) for name, each in network.state_dict().items()
            ):
                network.load_state_dict(weights)
                self._trainer = None  # whose optimizer has gone on
            raise

    def _fit_ngrams(
        self, labelled: LabelledDocuments, texts: NumberedTexts, folds: Sequence[np.ndarray], network: np.ndarray
    ) -> None:
        """Fit the linear classifier, and learn the weights of both on what was set aside.

        Parameters
        ----------
        labelled
            All documents.
        texts
            Their texts.
        folds
            Which of those with a known word were set aside together.
        network
            Logits of these, fold by fold, of a network that has not learnt from them, `(documents set aside, O)`.
        """
        vocabulary = NgramVocabulary.of(texts, int(self.ngrams or 1))
        contained = vocabulary.count(texts)
        codes, weights, n_classes = labelled.codes, labelled.weights, len(self.classes_)
        numbers = np.flatnonzero(labelled.documents.lengths > 0)
        linear = np.zeros((len(codes), network.shape[1]))
        for held in (numbers[fold] for fold in folds):
            is_held = np.zeros(len(codes), bool)
            is_held[held] = True
            fitted = fit_weights(contained, codes, np.where(is_held, 0, weights), n_classes)
            linear[is_held] = fitted.logits(contained)[is_held]
        all_held = numbers[np.concatenate([np.zeros(0, np.int64), *folds])]
        self.mixture_ = fit_mixture(
            linear[all_held], network.astype(np.float64), codes[all_held], weights[all_held].astype(np.float64)
        )
        self.ngrams_ = NgramClassifier(vocabulary, *fit_weights(contained, codes, weights, n_classes))

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one more epoch on some texts.

        Only the network is trained. The linear classifier needs all texts at once: after :meth:`fit` it is left
        unchanged, and if this method is called first, there is none, with a warning unless ``ngrams=None``. The
        vectors for ``vectors=None``, and the words that get vectors with ``oov="random"``, come from the texts of the
        first call. A loaded model continues from its weights with a new optimizer.
        ``class_weight="balanced"`` balances the texts of each call.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        classes
            All labels that may occur in any call; required in the first call.

        Returns
        -------
        SentimentClassifier
            This classifier.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`fit`, and if there is a label that `classes` did not name.
        """
        use_one_thread_after_fork()
        self._check_arguments()
        with self._restored_after_failure():
            self._fit_further(X, y, classes, sample_weight)
        return self

    def _fit_further(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> None:
        if not hasattr(self, "classes_"):
            if classes is None:
                raise ValueError("Expected classes in the first call of partial_fit: all labels that may occur.")
            found = np.unique(np.asarray(classes))
            if len(found) < 2:
                raise ValueError(f"Expected at least two classes, got {found.tolist()}.")
            texts, labels, weights = self._check_samples(X, y, sample_weight)
            self._check_known(labels, found)
            if self.ngrams is not None:
                warnings.warn(
                    f"partial_fit trains the network alone: the linear classifier of ngrams={self.ngrams} needs all "
                    "texts at once. Call fit to have both, or give ngrams=None.",
                    stacklevel=3,
                )
            trainer, _, documents = self._begin(texts, found)
        else:
            if classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
                raise ValueError(
                    f"Expected the classes of the first call, {self.classes_.tolist()}, got {list(classes)}."
                )
            texts, labels, weights = self._check_samples(X, y, sample_weight)
            self._check_known(labels, self.classes_)
            documents = self.vectorizer_.encode(self.vectorizer_.number(texts))
            trainer = self._trainer = self._trainer or self._resume()
        learned = self._label(documents, labels, weights)
        self._set_prior(learned, self._class_totals)
        rows = trainer.train(self._with_words(learned), 1, is_quiet=not self.verbose)
        self.n_epochs_ += 1
        self.history_ = [*self.history_, *(row | {"epoch": float(self.n_epochs_)} for row in rows)]

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits of texts, `(N, C)`; with two classes that of the second one, `(N,)`.

        Parameters
        ----------
        X
            Texts.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the classifier is not trained.
        TypeError, ValueError
            If a text is not what is expected.
        """
        use_one_thread_after_fork()
        check_is_fitted(self)
        texts = check_texts(X, "X")
        numbered = self.vectorizer_.number(texts)
        documents = self.vectorizer_.encode(numbered, warns=self.ngrams_ is None)
        with progress_bar(
            total=len(documents.lengths), desc="predict", unit="text", delay=1, leave=False, disable=not self.verbose
        ) as bar:
            settings = self._settings(torch.device("cpu") if self._trainer is None else self._trainer.settings.device)
            logits = compute_logits(self.network_, self.vectorizer_.table_, documents, settings, bar)
        logits = logits.astype(np.float64)
        is_empty = documents.lengths == 0
        if is_empty.any():
            if self.ngrams_ is None:
                self._warn_of_empty(int(is_empty.sum()), len(is_empty))
            logits[is_empty] = self._prior_logits()
        if self.ngrams_ is not None and self.mixture_ is not None:
            logits = self.mixture_.logits(self.ngrams_.logits(numbered), logits)
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, `(N, C)`, float64; arguments are those of :meth:`decision_function`."""
        logits = self.decision_function(X)
        if logits.ndim == 1:
            second = 1 / (1 + np.exp(-logits.clip(-700, 700)))
            return np.stack([1 - second, second], axis=1)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most likely label of each text, `(N,)`; arguments are those of :meth:`decision_function`."""
        logits = self.decision_function(X)
        codes = (logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(axis=1)
        return self.classes_[codes]

    def explain(self, text: str, label: Any = None) -> Explanation:
        """Return the phrases of a text that contribute most to its score.

        The score is the logit of `label`. Each filter's largest value comes from one window of words; its difference
        from the value for padding alone is followed through the dense layers with the Rescale rule of DeepLIFT [1]_,
        and belongs to the words of that window. The contributions of all phrases add up to the logit minus the
        baseline, which is the network's logit for padding alone.

        Parameters
        ----------
        text
            A text.
        label
            The class whose logit is explained, by default the predicted class. With two classes, the logit of the first
            is minus that of the second.

        Returns
        -------
        Explanation
            Logit, baseline, and phrases with their positions and contributions, the largest first.

        Raises
        ------
        TypeError
            If `text` is not a string.
        ValueError
            If `label` is no class.

        References
        ----------
        .. [1] A. Shrikumar, P. Greenside, A. Kundaje, "Learning Important Features Through Propagating Activation
               Differences", 2017, https://arxiv.org/abs/1704.02685
        """
        use_one_thread_after_fork()
        check_is_fitted(self)
        (checked,) = check_texts([text], "text")
        if label is not None and label not in self.classes_.tolist():
            raise ValueError(f"Expected label to be one of {self.classes_.tolist()}, got {label!r}.")
        all_located = list(self.vectorizer_.encoder_.located_ids(checked))
        known = [(number, token) for number, token in all_located if self.vectorizer_.keeps(number)]
        located = known[: self.vectorizer_.maxlen]
        if not located and self.ngrams_ is None:
            self._warn_of_empty(1, 1)
        if label is None and self.ngrams_ is not None:
            label = self.predict([checked])[0]
        code = None if label is None else self.classes_.tolist().index(label)
        explanation = explain_document(
            self.network_,
            self.vectorizer_.table_,
            checked,
            located,
            self.vectorizer_.maxlen,
            self.classes_,
            code,
            self._prior_logits(),
        )
        if self.ngrams_ is None or self.mixture_ is None or code is None:
            return explanation
        tokens = [token for _, token in all_located]
        return with_ngrams(explanation, self.ngrams_, self.mixture_, checked, tokens, code)

    def save(self, path: str | Path) -> None:
        """Write the model to a folder: network, vocabulary and vectors, without pickle.

        The folder is written completely or not at all; an existing model is replaced.

        Parameters
        ----------
        path
            The folder; its parent must exist.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the classifier is not trained.
        FileExistsError
            If there is something else at `path`.
        FileNotFoundError
            If the parent folder does not exist.
        OSError
            If the parent folder is not writable. The error names `path`, which is left unchanged.
        TypeError
            If an argument or a label cannot be written as JSON.
        """
        check_is_fitted(self)
        save_classifier(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, tokenizer: Tokenizer | None = None) -> Self:
        """Return a model that :meth:`save` wrote. No code from the folder is run. It predicts on the CPU.

        Parameters
        ----------
        path
            The folder.
        tokenizer
            The function that the model was trained with, if it was a custom tokenizer.

        Raises
        ------
        FileNotFoundError
            If there is no such folder, or a file is missing in it.
        ValueError
            If a file has been changed, is not part of a model, or was written by a newer version; or if `tokenizer` is
            missing or not needed.
        """
        return load_classifier(cls, Path(path), tokenizer)

    # --- steps of training

    def _check_arguments(self) -> None:
        for name in ("maxlen", "num_filters", "hidden_dim", "batch_size", "n_epochs", "patience"):
            check_number(name, getattr(self, name), int, at_least=1)
        if self.ngrams is not None:
            check_number("ngrams", self.ngrams, int, at_least=1)
        for size in self._kernel_sizes():
            check_number("kernel_size", size, int, at_least=1)
            if size > self.maxlen:
                raise ValueError(
                    f"Expected maxlen to be at least kernel_size, got maxlen={self.maxlen} and kernel_size={size}."
                )
        check_tokenizer(self.tokenizer)
        check_number("dropout", self.dropout, float, at_least=0, below=1)
        check_number("learning_rate", self.learning_rate, float, above=0)
        check_number("validation_fraction", self.validation_fraction, float, above=0, below=1)
        for name in ("train_embeddings", "early_stopping", "verbose"):
            check_choice(name, getattr(self, name), (True, False))
        if self.class_weight is not None and not isinstance(self.class_weight, dict):
            check_choice("class_weight", self.class_weight, (None, "balanced"))

    def _kernel_sizes(self) -> list[int]:
        sizes = self.kernel_size
        if isinstance(sizes, str) or (isinstance(sizes, Sequence | np.ndarray) and not len(sizes)):
            raise TypeError(f"Expected kernel_size to be a whole number or several, got {sizes!r}.")
        return list(sizes) if isinstance(sizes, Sequence | np.ndarray) else [sizes]

    def _check_samples(self, X: Any, y: Any, sample_weight: Any) -> tuple[list[str], np.ndarray, np.ndarray]:
        texts = check_texts(X, "X")
        return texts, check_labels(y, len(texts)), check_sample_weight(sample_weight, len(texts))

    @staticmethod
    def _check_known(labels: np.ndarray, classes: np.ndarray) -> None:
        unknown = np.setdiff1d(labels, classes)
        if len(unknown):
            raise ValueError(f"Expected labels among the classes {classes.tolist()}, got {unknown.tolist()} in y.")

    def _begin(self, texts: list[str], classes: np.ndarray) -> tuple[Trainer, NumberedTexts, Documents]:
        """Make vectorizer, network and trainer, and return the tokens of the texts and their documents."""
        seed = self._draw_seed()
        vectors = self.vectors
        if vectors is None:
            vectors = train_word_vectors(
                texts,
                min_count=1,
                lowercase=self.lowercase is not False,
                tokenizer=self.tokenizer,
                random_state=seed,
                verbose=self.verbose,
            )
        vectorizer = Word2VecVectorizer(
            vectors, self.maxlen, self.oov, self.lowercase, self.tokenizer, self.n_jobs, self.verbose, seed
        )
        numbered, documents = vectorizer.fit_encode(texts)
        if not documents.lengths.any():
            raise ValueError(
                "Expected at least one text in X with a word that has a vector, found none. Look at the texts, at "
                "lowercase, and at the language of the vectors."
            )
        self.vectorizer_, self.classes_ = vectorizer, classes
        self.network_ = self._make_network()
        self._trainer = trainer = self._make_trainer(self.network_, vectorizer.table_)
        self._class_totals = np.zeros(len(classes))
        self.history_, self.n_epochs_ = [], 0
        self.ngrams_ = self.mixture_ = None
        return trainer, numbered, documents

    def _make_network(self) -> SentimentNetwork:
        return SentimentNetwork(
            self.vectorizer_.table_.n_dimensions,
            self.num_filters,
            self._kernel_sizes(),
            self.hidden_dim,
            1 if len(self.classes_) == 2 else len(self.classes_),
        )

    def _make_trainer(self, network: SentimentNetwork, table: WordTable) -> Trainer:
        return Trainer(network, table, self._settings(self._find_device()), self._draw_seed())

    def _draw_seed(self) -> int:
        return int(check_random_state(self.random_state).randint(MAX_SEED))

    def _resume(self) -> Trainer:
        """Make a trainer for the network of a loaded model."""
        weights = {name: value.clone() for name, value in self.network_.state_dict().items()}
        trainer = self._make_trainer(self.network_, self.vectorizer_.table_)
        self.network_.load_state_dict(weights)
        return trainer

    def _settings(self, device: torch.device) -> Settings:
        maxlen = self.vectorizer_.maxlen
        return Settings(maxlen, self.dropout, self.learning_rate, self.batch_size, self.train_embeddings, device)

    def _find_device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            torch.zeros(0, device=device)
        except (RuntimeError, AssertionError, TypeError) as error:
            raise ValueError(
                f"Expected device to be 'cpu', 'auto' or a device that PyTorch finds, got {self.device!r}: {error}"
            ) from error
        return device

    def _label(self, documents: Documents, labels: np.ndarray, weights: np.ndarray) -> LabelledDocuments:
        """Put documents, class numbers and weights together, without those of weight zero."""
        codes = np.searchsorted(self.classes_, labels).astype(np.int64)
        kept = np.flatnonzero(weights > 0)
        labelled = LabelledDocuments(documents, codes, weights.astype(np.float32))
        return labelled if len(kept) == len(codes) else labelled.take(kept)

    def _set_prior(self, learned: LabelledDocuments, totals: np.ndarray) -> None:
        self._class_totals = totals + np.bincount(learned.codes, learned.weights, len(self.classes_))
        self.class_prior_ = self._class_totals / self._class_totals.sum()

    def _with_words(self, learned: LabelledDocuments) -> LabelledDocuments:
        """Weigh the classes, and leave out documents without a word."""
        weighted = self._weigh_classes(learned)
        kept = np.flatnonzero(learned.documents.lengths > 0)
        if not len(kept):
            raise ValueError("Expected at least one text in X with a word that has a vector, found none.")
        if len(kept) == len(learned.codes):
            return weighted
        warnings.warn(
            f"{len(learned.codes) - len(kept)} of {len(learned.codes)} texts have no word with a vector and are left "
            "out of the training.",
            stacklevel=3,
        )
        return weighted.take(kept)

    def _weigh_classes(self, learned: LabelledDocuments) -> LabelledDocuments:
        labels = self.classes_[learned.codes]
        present = np.unique(labels)
        by_class = np.ones(len(self.classes_))
        if self.class_weight is not None:
            weight = self.class_weight
            if isinstance(weight, dict):
                weight = {label: weight[label] for label in weight if label in present}
            found = compute_class_weight(weight, classes=present, y=labels, sample_weight=learned.weights)
            by_class[np.searchsorted(self.classes_, present)] = found
        return learned._replace(weights=(learned.weights * by_class[learned.codes]).astype(np.float32))

    def _set_aside(self, codes: np.ndarray) -> list[np.ndarray]:
        """Return which documents are set aside together: none, some once, or all of few documents in several parts."""
        n_texts = np.unique(codes, return_counts=True)[1]
        is_asked = self.early_stopping or self.ngrams is not None
        if not is_asked or len(codes) < FEWEST_TEXTS or n_texts.min() < 2:
            return []
        numbers = np.arange(len(codes))
        if self.ngrams is not None and len(codes) < FEW_TEXTS:
            splitter = StratifiedKFold(min(N_PARTS, n_texts.min()), shuffle=True, random_state=self._draw_seed())
            return [held_out for _, held_out in splitter.split(numbers, codes)]
        try:
            _, held_out = train_test_split(
                numbers,
                test_size=max(ceil(self.validation_fraction * len(codes)), len(n_texts)),  # a document of each class
                stratify=codes,
                random_state=self._draw_seed(),
            )
        except ValueError as error:
            raise ValueError(
                f"Expected enough texts to set validation_fraction={self.validation_fraction} of each class aside: "
                f"{error} Give more texts, another fraction, or early_stopping=False and ngrams=None."
            ) from error
        return [np.sort(held_out)]

    # --- documents without a word

    def _prior_logits(self) -> np.ndarray:
        """Return the logits of the class prior, `(O,)`."""
        logs = np.log(np.maximum(self.class_prior_, np.finfo(np.float64).tiny))
        return logs[1:] - logs[:1] if len(logs) == 2 else logs

    @staticmethod
    def _warn_of_empty(n_empty: int, n_texts: int) -> None:
        warnings.warn(
            f"{n_empty} of {n_texts} texts have no word with a vector: they get the class prior.", stacklevel=3
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "class_prior_") and hasattr(self, "network_")
