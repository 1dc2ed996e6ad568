"""Private names of other packages: all that are used, and which of them has moved in the version that is installed."""

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import seq_plugins
from seq_plugins.lightning.training_loop import FastTrainingEpochLoop
from seq_plugins.models import SequenceModel, SequenceModule
from seq_plugins.saving.checkpoint_io import AtomicCheckpointIO
from seq_plugins.windows import WindowsInferenceDataset, WindowsTrainingDataset

PACKAGE = Path(seq_plugins.__file__).parent
FILE_OF_IMPORTS = "_private_names.py"

# private methods and properties that our classes override: Darts has no public ones for these
OVERRIDDEN = {
    SequenceModel: {
        "_build_inference_dataset",
        "_build_train_dataset",
        "_check_ckpt_parameters",
        "_ckpt_skipped_params",
        "_create_model",
        "_init_trainer",
        "_load_from_checkpoint",
        "_predict",
        "_setup_checkpointing",
        "_setup_for_fit_from_dataset",
        "_setup_for_predict",
        "_setup_for_train",
        "_setup_trainer",
        "_train",
        "_validate_model_params",
    },
    SequenceModule: {
        "_compute_loss",
        "_compute_metrics",
        "_onnx_wrapper",
        "_produce_predict_output",
        "_train_val_step",
        "_update_metrics",
    },
    FastTrainingEpochLoop: set(),
    AtomicCheckpointIO: set(),
    WindowsTrainingDataset: set(),
    WindowsInferenceDataset: set(),
}

# private attributes that are read or set, by the module in whose source they stand
ATTRIBUTES = {
    "numba.core.cgutils": {"_getvalue"},
    "darts.models.forecasting.forecasting_model": {
        "_clean",
        "_default_save_path",
        "_fit_called",
        "_fit_wrapper",
        "_predict_wrapper",
        "_model_params",
    },
    "darts.models.forecasting.pl_forecasting_module": {"_get_batch_prediction"},
    "darts.models.forecasting.torch_forecasting_model": {
        "_extract_pl_module_params",
        "_extract_torch_model_params",
        "_requires_training",
        "_setup_finetuning",
    },
    "darts.timeseries": {"_time_index", "_values"},
    "darts.utils.torch": {"_random_instance"},
    "gensim.models.keyedvectors": {"_load_specials"},
    "gensim.utils": {"_adapt_by_suffix"},
    "pytorch_lightning.callbacks.model_checkpoint": {
        "_every_n_train_steps",
        "_last_global_step_saved",
        "_save_on_train_epoch_end",
        "_train_time_interval",
    },
    "pytorch_lightning.core.module": {"_current_fx_name", "_trainer"},
    "pytorch_lightning.loops.fit_loop": {"_can_stop_early", "_data_fetcher", "_skip_backward"},
    "pytorch_lightning.loops.training_epoch_loop": {
        "_batches_that_stepped",
        "_is_training_done",
        "_num_ready_batches_reached",
    },
    "pytorch_lightning.trainer.trainer": {"_detect_anomaly", "_logger_connector"},
    "pytorch_lightning.trainer.setup": {"_val_check_time_interval"},
    "pytorch_lightning.utilities.combined_loader": {"_iterator"},
    "torch": {"_C", "_foreach_add_", "_fused_adam_", "_fused_adamw_"},
    "torch.optim.optimizer": {"_optimizer_step_post_hooks", "_optimizer_step_pre_hooks"},
    "torch.utils.data.dataloader": {"_dataset_fetcher", "_pin_memory", "_sampler_iter"},
}

# outside the rooms that work around Lightning and save models
ELSEWHERE = {
    ("layers/recurrent_kernels.py", "_C"): "whether autograd or a transformation of functions is at work",
    ("layers/recurrent_loops.py", "_getvalue"): "the way in which an intrinsic of numba returns an array",
    ("text/word_vectors.py", "_adapt_by_suffix"): "gensim's reader runs pickled code; ours reads the same parts",
    ("text/word_vectors.py", "_load_specials"): "likewise",
    ("windows/forecasts.py", "_time_index"): "forecasts of one batch share what Darts would make for each",
    ("windows/forecasts.py", "_values"): "likewise",
}
OWN_ROOMS = ("lightning/", "saving/", "models/")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _defined_in(tree: ast.Module) -> set[str]:
    """Return every name that a file defines, or sets on an object of its own."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)  # buffers are registered by name
    return names


def _used_attributes() -> dict[str, set[str]]:
    """Return the files in which each private attribute stands that is not the package's own."""
    listed = set().union(*ATTRIBUTES.values())
    own = set().union(*(_defined_in(tree) for _, tree in _trees())) - listed
    used = defaultdict(set)
    for file, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in own:
                used[node.attr].add(file)
    return {name: files for name, files in used.items() if name != "_replace"}  # public, in a named tuple


def test_private_names_are_imported_in_one_file_only() -> None:
    found = {
        (file, alias.name)
        for file, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] != "seq_plugins"
        for alias in node.names
        if _is_private(alias.name) or any(map(_is_private, node.module.split(".")))
    }
    assert {file for file, _ in found} == {FILE_OF_IMPORTS}


@pytest.mark.parametrize("module", ATTRIBUTES)
def test_every_listed_attribute_still_stands_in_its_module(module: str) -> None:
    found = import_module(module)
    source = inspect.getsource(found)
    moved = {name for name in ATTRIBUTES[module] if not hasattr(found, name) and name not in source}
    assert not moved, f"{moved} moved out of {module}: see who reads them, and mend that"


def test_no_private_attribute_of_another_package_is_used_that_is_not_listed() -> None:
    overridden = set().union(*OVERRIDDEN.values())
    listed = set().union(*ATTRIBUTES.values())
    used = _used_attributes()
    assert used.keys() - overridden == listed
    of_texts = set().union(*(_defined_in(tree) for file, tree in _trees() if file.startswith("text/")))
    elsewhere = {
        (file, name)
        for name, files in used.items()
        for file in files
        if not file.startswith(OWN_ROOMS) and not (file.startswith("text/") and name in of_texts)
    }
    assert elsewhere == ELSEWHERE.keys()


@pytest.mark.parametrize("own_class", OVERRIDDEN, ids=lambda own_class: own_class.__name__)
def test_every_private_method_that_is_overridden_is_listed_and_still_there(own_class: type[Any]) -> None:
    ours = [base for base in own_class.__mro__ if base.__module__.startswith("seq_plugins")]
    theirs = [base for base in own_class.__mro__ if base not in ours and base is not object]
    defined = {name for base in ours for name in vars(base) if _is_private(name)}
    overridden = {name for base in theirs for name in vars(base)} & defined - {"_abc_impl"}
    assert overridden == OVERRIDDEN[own_class], "one has moved, or is not listed"
