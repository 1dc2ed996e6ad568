"""The descriptions of shared parameters, written once and inserted into each model's docstring."""

import inspect

SHARED_PARAMETERS = {
    "{chunk_parameters}": """
        input_chunk_length
            Number of past time steps that the model reads (the input window), `L`.
        output_chunk_length
            Number of time steps forecast at once, `H`. Longer forecasts (``predict(n)`` with a larger `n`) feed
            forecasts back as inputs.
        output_chunk_shift
            Number of time steps between the end of the input and the first forecast step. With a shift, the model
            can't forecast more than `output_chunk_length` steps.
        """,
    "{recurrent_parameters}": """
        model
            The recurrent layer: ``"RNN"`` (Keras' SimpleRNN), ``"LSTM"`` or ``"GRU"``.
        hidden_dim
            Number of units of each recurrent layer.
        """,
    "{stack_parameters}": """
        n_rnn_layers
            Number of recurrent layers.
        dilations
            Number of time steps that each layer's recurrence goes back, for each layer; by default ``None``: one.
            With ``[1, 24]``, the second layer of an hourly series carries each hour's state from day to day. A layer's
            states are then added to those of the layer below (a residual connection, as in ES-RNN,
            https://doi.org/10.1016/j.ijforecast.2019.03.017). If the input is down-sampled, dilations count the
            down-sampled steps.
        """,
    "{dropout_parameters}": """
        dropout
            Fraction of each recurrent layer's inputs that is dropped in training, with the same mask at every time step
            of a sequence. ``predict(..., mc_dropout=True)`` keeps it on.
        recurrent_dropout
            Fraction of each recurrent layer's state that is dropped before the next step, likewise. Where the compiled
            kernel of :mod:`seq_plugins.layers.recurrent_kernels` does not apply (GPU, low precision, large layers), it
            slows down training, since PyTorch's kernels do not support it.
        """,
    "{layer_norm_parameters}": """
        layer_norm
            Whether the recurrent layers normalise the sums that enter their gates (Ba, Kiros and Hinton 2016,
            https://arxiv.org/abs/1607.06450) over the units, with a learned gain and bias, and an LSTM its cell state,
            too. By default ``False``. Where the compiled kernel does not apply, it slows down training, like
            `recurrent_dropout`.
        """,
    "{head_parameters}": """
        activation
            Name of the ``torch.nn`` activation between the fully connected layers of the head (not that of the
            recurrent layers, which is always tanh).
        {hidden_layer_parameters}
        """,
    "{hidden_layer_parameters}": """
        hidden_fc_sizes
            Sizes of hidden fully connected layers between the state and the forecast, in which the state interacts with
            the future covariates of the horizon. By default none: the forecast is linear in both. With future
            covariates, a layer such as ``[64]`` is often much better.
        segment_length
            Number of steps that the head forecasts at a time, with the same weights for each segment of the horizon,
            such as 6 of 24 hours; by default ``None``: the whole horizon at once. It must divide `output_chunk_length`
            and needs `hidden_fc_sizes`. There are fewer weights, and each is trained on more examples (SegRNN,
            https://arxiv.org/abs/2308.11200).
        """,
    "{shared_parameters}": """
        use_static_covariates
            Whether to use the static covariates of the target series, if it has any.
        season_length
            Number of time steps of a season, such as 7 for daily data with a weekly pattern, or a list of several, such
            as ``[24, 168]`` for hourly data; by default ``None``. With it, the network forecasts the difference from
            the same time in the last season of the window (a skip connection from the seasonal naive forecast), for
            point forecasts, quantiles, or the location of a likelihood that has one. With several seasons, it is the
            difference from a weighted mean whose weights the network computes for each forecast (`LinearModel`: the
            same for all forecasts); values of a longer season are adjusted by the change in the mean of the shortest
            season since then, so a window must hold the longest plus the shortest season. In the loss on every step,
            states that have not seen whole seasons are left out, except for the last. A missing seasonal value is
            replaced by an earlier one in the window or, failing that, by the mean of the window so far.
        local_normalization
            Whether to express target values relative to a local level, so that series with different or changing levels
            can be learned together; by default ``None``: no. ``"level"``: at each time step, the level is the mean
            of the last season (the shortest `season_length`) or, without a season, the last value. ``"level_scale"``:
            the difference from the level is also divided by a scale, the mean absolute difference, in the window so
            far, of each value from the level just before it; if nothing has changed in the window, the scale is the
            absolute level or, if that is zero, 1. Both are computed from values up to the step only, so the loss on
            every step is kept, unlike with `use_reversible_instance_norm`. The network sees and forecasts relative
            values, the loss is computed on relative errors, and forecasts, quantiles, or the location and scale of a
            likelihood are returned on the scale of the series: the forecasts of a shifted series are shifted and, with
            ``"level_scale"``, those of a multiplied series multiplied. After a window that hardly changes, values can
            be very far away in units of its scale: use ``torch.nn.L1Loss()`` if there are such windows. Models with
            the loss on the last step only take the whole window relative to that step's level and scale. With seasons,
            the head also sees the seasonal values, and how the future covariates have changed since. In the loss on
            every step, states that have not seen a season and one more step are left out, except for the last.
            `val_loss` is relative, `torch_metrics` are not. With ``missing="mask"``, a window without any value has
            level 0 and scale 1, and is left out of training.
        missing
            How to treat missing values (NaN) in the target and in past and future covariates. ``"error"``, the
            default: raise an error. ``"mask"``: learn from the values that are present. The network sees zero for a
            missing value, and for every value an indicator that is 1 if it is missing. Missing targets are left out of
            the loss, which is averaged over the others; `loss_fn` must be a mean or sum over individual targets.
            `torch_metrics` are computed on the time steps at which all components are present, and
            `use_reversible_instance_norm` computes its statistics from the values that are present. To forecast from
            series with missing values, train on such series: an indicator that was never set has learned nothing.
            Series may be shorter than a window, in which case the oldest steps count as missing: one time step is
            enough to forecast from, and ``1 + output_chunk_shift + output_chunk_length`` steps to train on.
            Infinite values, NaN in static covariates or sample weights, and series without any target value still raise
            an error.
        sort_quantiles
            With ``QuantileRegression``: whether to sort the quantiles forecast for each step, so that they do not
            cross; by default ``True``. Samples are drawn from the sorted quantiles, too, and a network exported by
            ``to_onnx`` returns sorted quantiles. Training is not affected.
        ensemble_size
            Number of networks, the members, that are trained as one and forecast together; by default 1. Member `k` is
            the network that ``random_state + k`` would give on its own (up to rounding, if only initial weights, the
            order of batches and dropout are random): these are its own, and its gradients are clipped by their
            own norm. Five members take about two to three and a half times as long as one. The forecast is the
            mean of the members, which is nearly always better than a single one; with ``QuantileRegression`` the
            quantiles are those of their mixture, with another `likelihood` its parameters are averaged. Samples come
            from the members in turn: ``predict(n, num_samples=ensemble_size)`` returns each member's forecast, even
            without a `likelihood`. The property `members` returns each member as a separate model. `val_loss`, and
            hence early stopping and the best checkpoint, uses the mean of the members' losses. Requires an optimizer
            that updates each weight independently, such as Adam and SGD, and a single device.
        **kwargs
            All other arguments of Darts' torch models: `loss_fn`, `likelihood`, `torch_metrics`,
            `optimizer_cls`, `optimizer_kwargs`, `lr_scheduler_cls`, `lr_scheduler_kwargs`,
            `use_reversible_instance_norm`, `batch_size`, `n_epochs`, `model_name`, `work_dir`,
            `log_tensorboard`, `nr_epochs_val_period`, `force_reset`, `save_checkpoints`, `add_encoders`,
            `random_state`, `pl_trainer_kwargs`, `show_warnings`, `enable_finetuning`, as in
            :class:`darts.models.BlockRNNModel`.

        Raises
        ------
        ValueError
            If an argument is of the wrong type or out of range. :meth:`fit` also raises it, before training starts,
            for series that are too short, contain NaN (unless masked) or infinity, have no target value at all, or
            have covariates that do not reach far enough. In training, it raises
            :class:`seq_plugins.DivergenceError` if loss or weights are no longer finite or, with an error loss and
            in a single process, if the loss has grown without bound; the model then keeps its previous state.
        """,
}


def fill_in_shared_parameters(docstring: str) -> str:
    """Replace the markers by the shared descriptions and return the docstring, ready for ``help()``."""
    filled = inspect.cleandoc(docstring)
    for marker, text in SHARED_PARAMETERS.items():
        filled = filled.replace(marker, inspect.cleandoc(text))
    return filled
