"""Forecasts from an encoder, which reads the window, and a decoder, which makes the horizon step by step."""

from collections.abc import Mapping, Sequence
from math import ceil
from numbers import Real
from typing import Any, ClassVar, Literal, TypeAlias, cast, get_args

import torch
from darts.utils.data.torch_datasets.utils import ModuleStage, PLModuleInput, PLModuleOutput
from darts.utils.likelihood_models.torch import QuantileRegression
from torch import nn

from seq_plugins.layers import CellName, Dense, HorizonHead, RecurrentStack
from seq_plugins.layers.dropout import DrawsByMember
from seq_plugins.layers.members import for_each_sample
from seq_plugins.layers.seasonal_skip import ON_THE_SCALE_OF_THE_TARGET, is_on_the_scale_of_the_target
from seq_plugins.models.arguments import boolean, integer_from, one_of, unexpected
from seq_plugins.models.base import SequenceModel
from seq_plugins.models.module import SequenceModule, StepContext

# B: batch, L: input chunk length, H: output chunk length, h: steps decoded at once, C: target components,
# F: future covariates, D: features of a state, N: likelihood parameters, J: seasons, T: steps with a loss, from each of
# which a decoder starts, M: what a layer hands on

Decoding: TypeAlias = Literal["parallel", "autoregressive"]

_PATHS = {"draws": "paths"}
"""State of an input whose forecasts are to be paths drawn at random, each step given those before it."""


class LuongAttention(nn.Module):
    """What each step of a decoder finds in the states of the encoder, by the general score of Luong [1]_.

    Parameters
    ----------
    state_dim
        Number of features of a state, `D`.

    References
    ----------
    .. [1] M.-T. Luong, H. Pham and C. D. Manning, "Effective Approaches to Attention-based Neural Machine
           Translation", 2015, https://arxiv.org/abs/1508.04025
    """

    def __init__(self, state_dim: int) -> None:
        super().__init__()
        self.score = Dense(state_dim, state_dim, bias=False)
        self.combine = Dense(2 * state_dim, state_dim)

    def forward(
        self, states: torch.Tensor, encoded: torch.Tensor, is_hidden: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return states `(B, h, D)` that have seen the encoder's, `(B, L, D)`, but for those hidden, `(h, L)`."""
        context = torch.bmm(self.weights(states, encoded, is_hidden), encoded)  # -> (B, h, D)
        return torch.tanh(self.combine(torch.cat([context, states], dim=-1)))

    def weights(
        self, states: torch.Tensor, encoded: torch.Tensor, is_hidden: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return how much each step of the decoder attends to each of the encoder, `(B, h, L)`."""
        scores = torch.bmm(self.score(states), encoded.transpose(1, 2))
        if is_hidden is not None:
            scores = scores.masked_fill(is_hidden, -torch.inf)
        return scores.softmax(dim=-1)


class Positions(nn.Module):
    """Learnt features of each position of the horizon, which tell a decoder the step it is to forecast.

    Parameters
    ----------
    n_positions
        Number of steps of the horizon, `H`.
    """

    takes_members = True

    n_features = 16
    """Number of features of a position."""

    def __init__(self, n_positions: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_positions, self.n_features))
        nn.init.normal_(self.weight, std=0.3)

    def forward(self, n_samples: int) -> torch.Tensor:
        """Return the features for each of the samples, `(n_samples, H, n_features)`."""
        return for_each_sample(self.weight if self.weight.ndim == 3 else self.weight.unsqueeze(0), n_samples)


class TeacherForcing(DrawsByMember, nn.Module):
    """The choice, for each step of each sequence, between what came true and the network's own forecast [1]_.

    Parameters
    ----------
    rate
        Share of steps that are given what came true: in the first epoch and in the last.

    References
    ----------
    .. [1] S. Bengio et al., "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks", 2015,
           https://arxiv.org/abs/1506.03099
    """

    def __init__(self, rate: tuple[float, float]) -> None:
        super().__init__()
        self.first, self.last = rate

    def rate_in(self, epoch: int, n_epochs: int) -> float:
        """Return the rate in an epoch, counted from 0, of so many; with fewer than 2, it stays that of the first."""
        progress = min(epoch / (n_epochs - 1), 1.0) if n_epochs > 1 else 0.0
        return self.first + progress * (self.last - self.first)

    def forward(self, target: torch.Tensor, rate: float) -> torch.Tensor:
        """Return which steps of the target `(B, H, C)` are given, `(B, H)`."""
        steps = target[:, :, 0]
        if rate in (0.0, 1.0):
            return torch.full_like(steps, rate, dtype=torch.bool)
        return self.draw_uniform(steps) < rate


class EncoderDecoderRNNModule(SequenceModule):
    """Two stacks of recurrent layers: the decoder's start from what the encoder's hand on after the newest input.

    A further layer goes through the future covariates backwards: its states tell the decoder what is still to come.

    Parameters
    ----------
    model
        ``"RNN"``, ``"LSTM"`` or ``"GRU"``.
    hidden_dim
        Number of units of each layer.
    n_rnn_layers
        Number of layers of the encoder, and of the decoder.
    dropout
        Share of each layer's inputs dropped.
    recurrent_dropout
        Share of each layer's state hidden from its next step.
    layer_norm
        Whether the sums that enter each layer's gates are normalised.
    decoding
        ``"parallel"`` or ``"autoregressive"``.
    teacher_forcing
        Share of steps that are given what came true in training, or that in the first and in the last epoch.
    attention
        Whether the decoder attends to all states of the encoder.
    look_ahead
        Whether each step of the decoder is told of the covariates of the steps after it.
    sequence_to_sequence
        Whether there is a loss on forecasts from several steps of the window, or on that from its end only.
    decoder_starts
        Number of these steps, at most.
    **kwargs
        Parameters of :class:`SequenceModule`.
    """

    encoder: RecurrentStack

    def __init__(
        self,
        model: CellName,
        hidden_dim: int,
        n_rnn_layers: int,
        dropout: float,
        recurrent_dropout: float,
        layer_norm: bool,
        decoding: Decoding,
        teacher_forcing: float | Sequence[float],
        attention: bool,
        look_ahead: bool,
        sequence_to_sequence: bool,
        decoder_starts: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(sequence_to_sequence=sequence_to_sequence, **kwargs)
        is_parallel = decoding == "parallel"
        looks_ahead = look_ahead and self.future_dim > 0
        given_dim = self.future_dim + (Positions.n_features if is_parallel else self.n_targets)
        given_dim += hidden_dim if looks_ahead else 0
        layers = hidden_dim, n_rnn_layers, dropout, recurrent_dropout
        self.encoder = RecurrentStack(model, self.input_dim, *layers, layer_norm=layer_norm)
        self.decoder = RecurrentStack(model, given_dim, *layers, layer_norm=layer_norm)
        self.ahead = None
        if looks_ahead:
            self.ahead = RecurrentStack(
                model, self.future_dim, hidden_dim, 1, dropout, recurrent_dropout, layer_norm=layer_norm
            )
        self.positions = Positions(self.output_chunk_length) if is_parallel else None
        self.teacher_forcing = None if is_parallel else TeacherForcing(_first_and_last(teacher_forcing))
        self.attention = LuongAttention(hidden_dim) if attention else None
        ends = range(self.input_chunk_length - 1, -1, -ceil(self.input_chunk_length / decoder_starts))
        self.set_step_ends(ends[::-1])
        self._ends_with_loss: list[int] = self._loss_ends.tolist()
        step_shape = (1, *self.output_shape[1:])
        self.head = HorizonHead(hidden_dim, 0, step_shape, self.hidden_fc_sizes, self.activation)

    def _forecast(self, x_in: PLModuleInput, context: StepContext, is_of_every_step: bool) -> tuple[torch.Tensor, None]:
        """Return the forecasts of decoders that start from each step with a loss, as if they were samples."""
        ends = self._ends_with_loss if is_of_every_step else [self.input_chunk_length - 1]
        encoded, memories = self._encode(self._step_features(x_in), ends)
        future = x_in.future_covariates
        if future is not None and is_of_every_step:
            future = self._windows_ahead(torch.cat([x_in.historic_future_covariates, future], dim=1))
            future = future.flatten(0, 1)  # -> (B * T, H, F)
        if future is not None and self.ahead is not None:
            future = torch.cat([future, self.ahead(future.flip(1)).flip(1)], dim=-1)  # -> (B * T, H, F + D)
        if self.positions is None:
            forecasts = self._decode_in_turn(x_in, context, future, encoded, memories)
        else:
            given = _joined(self.positions(x_in.past_target.shape[0] * len(ends)), future)
            forecasts = self._decode(given, encoded, memories)[0]
        return forecasts.unflatten(0, (-1, len(ends))), None

    def _encode(self, features: torch.Tensor, ends: Sequence[int]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return states of the encoder, and what its layers hand on after each of the steps, `(M, B * T, D)` each.

        Parameters
        ----------
        features
            Features `(B, L, I)`.
        ends
            Positions of the steps in the window, in order; the last is that of the newest.
        """
        masks = self.encoder.sample_masks(features)
        memories = None
        encoded, handed_on = [], []
        for first, end in zip([0, *(end + 1 for end in ends)], ends, strict=False):
            states, memories = self.encoder.go_on(
                features[:, first : end + 1], memories, masks, last_only=self.attention is None
            )
            encoded.append(states)
            handed_on.append(memories)
        if len(ends) == 1:
            return encoded[0], handed_on[0]
        of_layers = [torch.stack(of_layer, dim=2).flatten(1, 2) for of_layer in zip(*handed_on, strict=True)]
        return torch.cat(encoded, dim=1), of_layers

    def _decode(
        self, given: torch.Tensor, encoded: torch.Tensor, memories: Sequence[torch.Tensor], masks: Any = None
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """Return the forecasts `(B * T, h, C, N)` of steps, and what the decoder hands on, from what it is given.

        Parameters
        ----------
        given
            What the decoder is given of each step, `(B * T, h, ...)`.
        encoded
            States of the encoder, `(B, L, D)`.
        memories
            What has been handed on to the decoder, by layer.
        masks
            What dropout hides in each layer; by default it is drawn.
        """
        states, memories = self.decoder.go_on(given, memories, masks)  # -> (B * T, h, D)
        if self.attention is not None:
            states = self._attend(self.attention, states, encoded)
        return self.head(states).squeeze(2), memories

    def _attend(self, attention: LuongAttention, states: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """Return the decoders' states after they have seen the encoder's, none later than that they started from."""
        n_samples, n_decoders, n_steps = encoded.shape[0], states.shape[0], states.shape[1]
        if n_decoders == n_samples:
            return cast("torch.Tensor", attention(states, encoded))
        of_samples = states.reshape(n_samples, -1, states.shape[-1])  # -> (B, T * h, D)
        steps = torch.arange(encoded.shape[1], device=encoded.device)
        is_later = (steps > self._loss_ends.unsqueeze(-1)).repeat_interleave(n_steps, dim=0)  # -> (T * h, L)
        return cast("torch.Tensor", attention(of_samples, encoded, is_later)).reshape(states.shape)

    def _decode_in_turn(
        self,
        x_in: PLModuleInput,
        context: StepContext,
        future: torch.Tensor | None,
        encoded: torch.Tensor,
        memories: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """Return the forecasts `(B * T, H, C, N)` of decoders that are given what the step before has come to."""
        value = context.newest.flatten(0, 1).unsqueeze(1)  # -> (B * T, 1, C)
        seasons = None if context.seasons is None else context.seasons.flatten(0, 1).unsqueeze(1)
        target, is_told = self._teacher(x_in.stage, context.target)
        if target is not None and bool(is_told.all()):  # nothing depends on the network's own forecasts
            given = _joined(torch.cat([value, target[:, :-1]], dim=1), future)
            return self._decode(given, encoded, memories)[0]
        masks = self.decoder.sample_masks(value)
        forecasts = []
        for step in range(self.output_chunk_length):
            here = slice(step, step + 1)
            given = _joined(value, None if future is None else future[:, here])
            forecast, memories = self._decode(given, encoded, memories, masks)  # -> (B * T, 1, C, N)
            with_season = forecast
            if seasons is not None and self.seasons is not None:
                with_season = self.seasons.added_to(forecast.unsqueeze(1), seasons[:, :, here]).squeeze(1)
            if x_in.state is _PATHS:
                value = self._draw(with_season)
                # the season is added to it again, as to every forecast
                forecast = forecast + (value.unsqueeze(-1) - with_season[..., :1])
            else:
                value = with_season[..., self._location]
            forecasts.append(forecast)
            if target is not None:
                value = torch.where(is_told[:, here], target[:, here], value)
        return torch.cat(forecasts, dim=1)

    def _teacher(self, stage: ModuleStage, target: torch.Tensor | None) -> tuple[Any, Any]:
        """Return what came true, `(B * T, H, C)`, and which of it the decoder is told; ``None`` but in training."""
        if stage is not ModuleStage.TRAIN or self.teacher_forcing is None or target is None:
            return None, None
        trainer = self._trainer
        rate = self.teacher_forcing.first
        if trainer is not None:
            rate = self.teacher_forcing.rate_in(trainer.current_epoch, trainer.max_epochs)
        if rate == 0:
            return None, None
        target = target.flatten(0, 1)
        missing = target.isnan()
        target = target.masked_fill(missing, 0.0)
        if self.use_reversible_instance_norm:
            target = self.rin.transform(target)
        return target, self.teacher_forcing(target, rate).unsqueeze(-1) & ~missing

    @property
    def _location(self) -> int:
        """The parameter of a forecast that stands for it: the median, a distribution's location, or the forecast."""
        is_of_quantiles = isinstance(self.likelihood, QuantileRegression)
        return self.likelihood.quantiles.index(0.5) if is_of_quantiles else 0

    def _draw(self, forecast: torch.Tensor) -> torch.Tensor:
        """Return values `(B, 1, C)` drawn from the likelihood of a step's forecast, `(B, 1, C, N)`."""
        parameters = self.rin.inverse(forecast) if self.use_reversible_instance_norm else forecast
        if self.gives_quantiles_in_order:
            parameters = parameters.sort(dim=-1).values
        drawn = self.likelihood.sample(parameters)
        return self.rin.transform(drawn) if self.use_reversible_instance_norm else drawn

    def _produce_predict_output(self, x: PLModuleInput) -> PLModuleOutput:
        """Sample paths, each step of them given the steps before, where the decoder is given its own forecasts."""
        draws = self.likelihood is not None and not self.predict_likelihood_parameters
        if self.positions is not None or not draws or not self._predicts_by_member:
            return super()._produce_predict_output(x)
        output = self(x.replace(state=_PATHS))
        return output.replace(prediction=output.prediction[..., 0])


def _joined(values: torch.Tensor, future: torch.Tensor | None) -> torch.Tensor:
    return values if future is None else torch.cat([values, future], dim=-1)


def _first_and_last(teacher_forcing: float | Sequence[float]) -> tuple[float, float]:
    """Return the rates of the first epoch and of the last."""
    if isinstance(teacher_forcing, Sequence):
        return float(teacher_forcing[0]), float(teacher_forcing[1])
    return float(teacher_forcing), float(teacher_forcing)


def _rates(name: str, value: Any) -> None:
    """Accept a number from 0 to 1, or two of them."""
    rates = value if isinstance(value, list | tuple) and len(value) == 2 else [value]
    if not all(isinstance(rate, Real) and not isinstance(rate, bool) and 0 <= float(rate) <= 1 for rate in rates):
        raise unexpected(name, "a number from 0 to 1, or two for first and last epoch such as (1.0, 0.0)", value)


class EncoderDecoderRNNModel(SequenceModel):
    """An encoder reads the window, and a decoder, started from its state, makes the horizon step by step.

    With ``decoding="parallel"`` (Lin, 2023), the decoder reads at each step the future covariates of that step and a
    learned position, and all steps are decoded at once. With ``decoding="autoregressive"`` (Cho, 2014), it reads the
    covariates and the previous value: at first the newest value of the target, then the network's own last forecast.
    In training, it can be given the true value instead (`teacher_forcing`). Autoregressive decoding takes one call of
    the decoder per step.

    Every step of the horizon depends on the newest input, through the initial state of the decoder. A head shared by
    all steps makes the forecast of each step from the decoder's state.

    In training, decoders start not only at the end of the window but from several of its steps, evenly spaced, and the
    loss is averaged over all of their forecasts. The remarks of :class:`Seq2SeqRNNModel` on shifts, instance
    normalisation (loss on the last step only) and sample weights (they must cover the window) apply here, too. In
    prediction and validation, only the forecast from the end of the window is used.

    With a `likelihood`, the value that is fed back in training is the location of the forecast: the median of quantiles
    or the first parameter of a Gaussian, Laplace, Cauchy or Gumbel distribution. In prediction it is the value drawn,
    so samples are paths that are coherent over time: a high Monday makes a high Tuesday more likely, and quantiles of
    sums over the horizon can be computed from them. The samples of the other models, and those of parallel decoding,
    are drawn independently for each step. With ``predict_likelihood_parameters=True``, locations are fed back. A single
    sample of an ensemble is drawn from the combined forecast of its members, and is not a path; with ``num_samples`` of
    2 or more, each sample is a path of one member.

    Parameters
    ----------
    {chunk_parameters}
    {recurrent_parameters}
    n_rnn_layers
        Number of recurrent layers of the encoder, and of the decoder. Each of the decoder's starts from the last state
        of the encoder's layer of the same height and, of an LSTM, from its cell.
    decoding
        ``"parallel"`` or ``"autoregressive"``.
    teacher_forcing
        With autoregressive decoding, the share of steps at which the decoder is given, in training, the true previous
        value rather than the network's own forecast: one number for all epochs, or two such as ``(1.0, 0.0)``,
        for the first and the last epoch, with linear interpolation in between (scheduled sampling). At 1, training is
        as fast as with parallel decoding, but the decoder never sees its own errors. Early stopping may end training
        before the last rate is reached. Missing values are never fed.
    attention
        Whether each step of the decoder attends to all states of the encoder, with the general score of Luong.
    look_ahead
        Whether each step of the decoder is also told of the future covariates of the steps after it: by the states of
        a recurrent layer that goes through them backwards, from the end of the horizon, as in a bidirectional network
        (Schuster and Paliwal, 1997). Without future covariates there is no such layer.
    sequence_to_sequence
        Whether to compute the loss on forecasts from several steps of the window, or only on that from its end, which
        takes less time.
    decoder_starts
        With `sequence_to_sequence`, maximum number of steps from which decoders start in training.
    {dropout_parameters}
    {layer_norm_parameters}
    activation
        Name of the ``torch.nn`` activation between the fully connected layers of the head (not that of the recurrent
        layers, which is always tanh).
    hidden_fc_sizes
        Sizes of hidden fully connected layers between a step's state and its forecast; by default none.
    {shared_parameters}

    References
    ----------
    - S. Lin et al., "SegRNN: Segment Recurrent Neural Network for Long-Term Time Series Forecasting", 2023,
      https://arxiv.org/abs/2308.11200
    - K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
      Translation", 2014, https://arxiv.org/abs/1406.1078
    - S. Bengio et al., "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks", 2015,
      https://arxiv.org/abs/1506.03099
    - M.-T. Luong, H. Pham and C. D. Manning, "Effective Approaches to Attention-based Neural Machine
      Translation", 2015, https://arxiv.org/abs/1508.04025
    - M. Schuster and K. K. Paliwal, "Bidirectional Recurrent Neural Networks", IEEE Transactions on Signal
      Processing 45 (11), 1997, https://doi.org/10.1109/78.650093
    """

    _module_class = EncoderDecoderRNNModule
    _argument_checks: ClassVar = {
        "decoding": one_of(get_args(Decoding)),
        "teacher_forcing": _rates,
        "attention": boolean,
        "look_ahead": boolean,
        "decoder_starts": integer_from(1),
    }

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        model: CellName = "RNN",
        hidden_dim: int = 32,
        n_rnn_layers: int = 1,
        decoding: Decoding = "parallel",
        teacher_forcing: float | Sequence[float] = 0.0,
        attention: bool = False,
        look_ahead: bool = True,
        sequence_to_sequence: bool = True,
        decoder_starts: int = 8,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        layer_norm: bool = False,
        activation: str = "ReLU",
        hidden_fc_sizes: Sequence[int] | None = None,
        use_static_covariates: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__()

    def _check_arguments(self, arguments: Mapping[str, Any]) -> None:
        super()._check_arguments(dict(arguments))
        likelihood = arguments.get("likelihood")
        if arguments["decoding"] == "autoregressive" and not is_on_the_scale_of_the_target(likelihood):
            raise ValueError(
                f'Expected `likelihood` to be {ON_THE_SCALE_OF_THE_TARGET} with decoding="autoregressive", got '
                f"{type(likelihood).__name__}, none of whose parameters is a value of the target to feed back. Give "
                'decoding="parallel", or another likelihood.'
            )
