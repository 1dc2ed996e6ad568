"""The text of the parameters that models share, written once and put into each model's docstring."""

import inspect

SHARED_PARAMETERS = {
    "{chunk_parameters}": """
        input_chunk_length
            Number of past time steps that a forecast is made from, `L`.
        output_chunk_length
            Number of time steps forecast at once, `H`. Longer forecasts (``predict(n)`` with a larger `n`) feed
            forecasts back as inputs.
        output_chunk_shift
            Number of time steps between the end of the input and the first step forecast. With a shift the model
            can't forecast further than `output_chunk_length` steps.
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
            Number of time steps from a state to the next that it enters, for each layer; by default ``None``: one.
            With ``[1, 24]`` the second layer of an hourly series reads each hour's states from day to day. A layer's
            states are then added to those of the layer below, so that it learns what they lack (as in ES-RNN,
            https://doi.org/10.1016/j.ijforecast.2019.03.017). Where the time steps of the input are down-sampled,
            they are counted after it.
        """,
    "{dropout_parameters}": """
        dropout
            Share of each recurrent layer's inputs dropped in training, the same ones at every time step of a
            sequence. ``predict(..., mc_dropout=True)`` keeps it on.
        recurrent_dropout
            Share of each recurrent layer's state hidden from its next step, likewise. Where the compiled kernel of
            :mod:`seq_plugins.layers.recurrent_kernels` does not apply (GPU, low precision, large layers) it makes
            training slower, since PyTorch's kernels do not know it.
        """,
    "{layer_norm_parameters}": """
        layer_norm
            Whether the recurrent layers normalise the sums that enter their gates (Ba, Kiros and Hinton 2016,
            https://arxiv.org/abs/1607.06450): each is divided by its standard deviation over the units, less its mean,
            then weighed and moved by learnt numbers; so is the cell of an LSTM. By default ``False``. Where the
            compiled kernel does not apply it makes training slower, like `recurrent_dropout`.
        """,
    "{head_parameters}": """
        activation
            Name of the ``torch.nn`` activation between the fully connected layers of the head (not that of the
            recurrent layers, which is always tanh).
        {hidden_layer_parameters}
        """,
    "{hidden_layer_parameters}": """
        hidden_fc_sizes
            Sizes of hidden fully connected layers between the state and the forecast. In them the state meets the
            future covariates of the steps forecast. By default none: the forecast is linear in both. With future
            covariates a layer such as ``[64]`` is often much better.
        segment_length
            Number of steps that the head forecasts at a time, with the same weights for each segment of the horizon,
            such as 6 of 24 hours; by default ``None``: the whole horizon at once. It divides `output_chunk_length` and
            needs `hidden_fc_sizes`. Fewer weights see more examples each (SegRNN, https://arxiv.org/abs/2308.11200).
        """,
    "{shared_parameters}": """
        use_static_covariates
            Whether to use the static covariates of the target series, if it has any.
        season_length
            Time steps of a season, such as 7 for daily values with a weekly pattern, or a list of several, such as
            ``[24, 168]`` for hourly values; by default ``None``. With it, the network forecasts the difference to the
            same time of the last season in the window (a skip connection from the seasonal naive forecast), as point
            forecast, quantiles or location of a likelihood that has one. Of several seasons it is the difference to a
            mean whose weights the network chooses anew for each forecast (`LinearModel` once for all); the values of a
            longer season are moved by what the mean of the shortest has changed since, so a window must hold the
            longest and the shortest together. States that have not seen whole seasons do not count in the loss on every
            step, but for the last. A missing value of the season is taken from an earlier one in the window or, failing
            that, is the mean of the window so far.
        local_normalization
            What values of the target are taken relative to, so that series of unlike or changing levels can be learnt
            together; by default ``None``: nothing. ``"level"``: at each time step, the level is the mean of the last
            season (the shortest `season_length`) or, without one, the last value. ``"level_scale"``: the difference is
            also divided by a scale, the mean absolute difference, in the window so far, of each value to the level
            just before it; where nothing has changed in the window, it is the size of the level or, at zero, 1. Both
            are of values up to the step only, so that the loss on every step stays, unlike with
            `use_reversible_instance_norm`. The network is given relative values and forecasts them, the loss is of
            relative errors, and forecasts, quantiles or a likelihood's location and width come out on the scale of
            the series: a series that is moved is forecast moved and, with ``"level_scale"``, one that is multiplied is
            forecast multiplied. What follows a window that hardly changes can be very far away in units of its scale:
            take ``torch.nn.L1Loss()`` where there are such. Models whose loss is on the last step only take the whole
            window relative to that step's level and scale. With seasons, the head is given their values, and what the
            known covariates have changed since. States that have not seen a season and a step more do not count in the
            loss on every step, but for the last. `val_loss` is relative, `torch_metrics` are not. With
            ``missing="mask"``, a window without any value has level 0 and scale 1, and nothing is learnt for such
            windows.
        missing
            What to do about missing values (NaN) in the target and in past and future covariates. ``"error"``, the
            default: refuse them. ``"mask"``: learn from what is there. The network is given zero for a missing value,
            and beside every value a flag that is 1 where it is missing. Missing targets have no part in the loss,
            whose mean is over those that are there; `loss_fn` must be a mean or sum over single targets.
            `torch_metrics` are of the time steps at which all components are there, and
            `use_reversible_instance_norm` takes its statistics from the values that are there. Where forecasts are to
            be made from series with missing values, train on such: a flag that was never set has learnt nothing.
            Series may be shorter than a window, whose oldest steps are missing values then: one time step is enough to
            forecast from, and ``1 + output_chunk_shift + output_chunk_length`` to train on.
            Infinite values, NaN in static covariates or sample weights, and series without any target are refused all
            the same.
        sort_quantiles
            With ``QuantileRegression``: whether the quantiles forecast for a step are put in order, so that they do not
            cross; by default ``True``. Samples are drawn from them in order, too, and a network that
            ``to_onnx`` exports gives them in order. Training does not change.
        ensemble_size
            Number of networks, the members, that are trained as one and forecast together; by default 1. Member `k` is
            the network that ``random_state + k`` gives alone (up to rounding, if nothing but initial weights, order of
            batches and dropout is drawn at random): it has these of its own, and its gradients are clipped by their
            own norm, but five of them take about two to three and a half times as long as one. The forecast is the
            members' mean, which is nearly always better than a single one; with ``QuantileRegression`` the quantiles
            are those of their mixture, with another `likelihood` its parameters are means. Samples come from the
            members in turn: ``predict(n, num_samples=ensemble_size)`` gives each member's forecast, also without a
            `likelihood`. The property `members` holds each as a model of its own. `val_loss`, and with it early
            stopping and the best checkpoint, is the mean of the members' losses. Takes optimizers that update each
            weight by itself, such as Adam and SGD, and one device.
        **kwargs
            Everything else that Darts' torch models take: `loss_fn`, `likelihood`, `torch_metrics`,
            `optimizer_cls`, `optimizer_kwargs`, `lr_scheduler_cls`, `lr_scheduler_kwargs`,
            `use_reversible_instance_norm`, `batch_size`, `n_epochs`, `model_name`, `work_dir`,
            `log_tensorboard`, `nr_epochs_val_period`, `force_reset`, `save_checkpoints`, `add_encoders`,
            `random_state`, `pl_trainer_kwargs`, `show_warnings`, `enable_finetuning`. They mean what they mean for
            :class:`darts.models.BlockRNNModel`.

        Raises
        ------
        ValueError
            If an argument is of the wrong type or out of range. :meth:`fit` raises it too, before training starts,
            for series that are too short, hold NaN (unless it is to be masked) or infinity, have no target at all, or
            have covariates that do not reach far enough. In training it raises one,
            :class:`seq_plugins.DivergenceError`, where loss or weights are no longer finite or, with errors as loss and
            in a single process, where it has grown out of all bounds; the model is then what it was before.
        """,
}


def fill_in_shared_parameters(docstring: str) -> str:
    """Put the shared texts in place of their markers and return the docstring, ready for ``help()``."""
    filled = inspect.cleandoc(docstring)
    for marker, text in SHARED_PARAMETERS.items():
        filled = filled.replace(marker, inspect.cleandoc(text))
    return filled
