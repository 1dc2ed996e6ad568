"""Private names of Darts, PyTorch Lightning and PyTorch that the package imports; no other file imports any.

Private attributes, and the private methods that our classes override, are listed beside the test that says when one
of them has moved: ``tests/lightning/test_private_names.py``.
"""

from darts.models.forecasting.torch_forecasting_model import _get_checkpoint_fname as checkpoint_file_name
from darts.models.forecasting.torch_forecasting_model import _get_checkpoint_folder as checkpoint_folder
from darts.models.forecasting.torch_forecasting_model import _get_runs_folder as runs_folder
from darts.utils.data.torch_datasets._data_module import TorchDataModule
from darts.utils.data.torch_datasets.utils import _batch_collate_fn_predict as collate_inference_samples
from darts.utils.data.torch_datasets.utils import _batch_collate_fn_train as collate_training_samples
from darts.utils.serialization.torch import _DartsCheckpointIO as DartsCheckpointIO
from darts.utils.timeseries_generation import _build_forecast_series_from_schema as build_forecast_series
from pytorch_lightning.loops.optimization.automatic import _AutomaticOptimization as AutomaticOptimization
from pytorch_lightning.loops.prediction_loop import _PredictionLoop as OrdinaryPredictionLoop
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop as TrainingEpochLoop
from pytorch_lightning.tuner.lr_finder import _LRCallback as LearningRateSearch
from torch.optim.optimizer import _global_optimizer_post_hooks as global_hooks_after_updates
from torch.optim.optimizer import _global_optimizer_pre_hooks as global_hooks_before_updates

__all__ = [
    "AutomaticOptimization",
    "DartsCheckpointIO",
    "LearningRateSearch",
    "OrdinaryPredictionLoop",
    "TorchDataModule",
    "TrainingEpochLoop",
    "build_forecast_series",
    "checkpoint_file_name",
    "checkpoint_folder",
    "collate_inference_samples",
    "collate_training_samples",
    "global_hooks_after_updates",
    "global_hooks_before_updates",
    "runs_folder",
]
