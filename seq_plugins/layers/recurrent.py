"""Recurrent layers with the equations and the initial weights of Keras.

PyTorch's layers start from other weights and carry a second, redundant bias. Both change what a small network
learns in a given number of epochs, so networks that are described in Keras train differently with ``torch.nn``.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from seq_plugins.layers.dropout import VariationalDropout
from seq_plugins.layers.recurrent_kernels import (
    Cell,
    Kernel,
    Normalize,
    Recurrence,
    Weights,
    choose_kernel,
    run_compiled,
    run_in_steps,
    run_in_torch,
)

# B: batch, L: time steps, I: features of a step, D: hidden dimension, G: gates,
# M: what a step hands to the next, 1 for the state or 2 for state and cell of an LSTM


class DropoutMasks(NamedTuple):
    """What dropout hides of each sequence, the same at all of its steps; ``None`` where it hides nothing."""

    of_inputs: torch.Tensor | None  # (B, I)
    of_state: torch.Tensor | None  # (B, D)

    def applied_to(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return `inputs` `(B, L, I)` without the features that are hidden."""
        return inputs if self.of_inputs is None else inputs * self.of_inputs.unsqueeze(1)


class RecurrentLayer(nn.Module):
    """One recurrent layer, from `(B, L, I)` to the state of every step, `(B, L, D)`. The first state is zero.

    Input kernels start Glorot uniform, recurrent kernels orthogonal and biases at zero, as in Keras. Recurrent dropout
    has one mask for all gates, where Keras draws one for each.

    Parameters
    ----------
    input_dim
        Number of features of a time step, `I`.
    hidden_dim
        Number of units, `D`.
    dropout
        Fraction of the input features that is dropped, with the same mask at every step of a sequence.
    recurrent_dropout
        Fraction of the state's units that is dropped before the next step, with the same mask at every step.
    dilation
        Number of time steps that the recurrence goes back: with 24, each hour's state follows that of the
        same hour the day before. The first `dilation` states follow zero.
    layer_norm
        Whether to normalise the sum that enters each gate, and the candidate, over its units [1]_: the mean is
        subtracted, the result divided by the standard deviation, and a learned gain and bias of each unit applied. The
        biases are part of the sums. In an LSTM, the cell state is also normalised before it is output.

    References
    ----------
    .. [1] J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450
    """

    takes_members = True

    cell: ClassVar[Cell]
    # position of PyTorch's gates among Keras' gates
    keras_gates: ClassVar[Sequence[int]]
    has_recurrent_bias: ClassVar[bool] = False

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dilation: int = 1,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.hidden_dim = hidden_dim
        self.dilation = dilation
        self.weight_ih = nn.Parameter(torch.empty(self.cell.n_gates * hidden_dim, input_dim))
        self.weight_hh = nn.Parameter(torch.empty(self.cell.n_gates * hidden_dim, hidden_dim))
        self.bias_ih = nn.Parameter(torch.empty(self.cell.n_gates * hidden_dim))
        self.bias_hh = nn.Parameter(torch.empty(self.cell.n_gates * hidden_dim)) if self.has_recurrent_bias else None
        norm_shape = self.cell.n_norms, hidden_dim
        self.norm_weight = nn.Parameter(torch.empty(norm_shape)) if layer_norm else None
        self.norm_bias = nn.Parameter(torch.empty(norm_shape)) if layer_norm else None
        # absent rather than inactive at zero: Darts takes a model with Monte Carlo dropout layers for probabilistic
        self.dropout = VariationalDropout(dropout) if dropout > 0 else None
        self.recurrent_dropout = VariationalDropout(recurrent_dropout) if recurrent_dropout > 0 else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial weights."""
        nn.init.xavier_uniform_(self.weight_ih)
        nn.init.orthogonal_(self.weight_hh)
        nn.init.zeros_(self.bias_ih)
        if self.bias_hh is not None:
            nn.init.zeros_(self.bias_hh)
        if self.norm_weight is not None and self.norm_bias is not None:
            nn.init.ones_(self.norm_weight)
            nn.init.zeros_(self.norm_bias)

    def forward(self, inputs: torch.Tensor, last_only: bool = False) -> torch.Tensor:
        """Return the states `(B, L, D)` of `inputs` `(B, L, I)`, or only the last one, `(B, 1, D)`."""
        masks = self.sample_masks(inputs)
        inputs, mask = masks.applied_to(inputs), masks.of_state
        if self.dilation == 1:
            return self._run(inputs, mask, last_only).states
        n_steps, dilation = inputs.shape[1], self.dilation
        if last_only:
            return self._run(inputs[:, (n_steps - 1) % dilation :: dilation], mask, last_only).states
        # each phase is a sequence of its own
        n_rounds = -(-n_steps // dilation)
        rounds = F.pad(inputs, (0, 0, 0, n_rounds * dilation - n_steps)).unflatten(1, (n_rounds, dilation))
        phases = rounds.transpose(1, 2).flatten(0, 1)  # -> (B * dilation, rounds, I)
        states = self._run(phases, None if mask is None else mask.repeat_interleave(dilation, 0), last_only).states
        return states.unflatten(0, (-1, dilation)).transpose(1, 2).flatten(1, 2)[:, :n_steps]

    def go_on(
        self,
        inputs: torch.Tensor,
        memory: torch.Tensor | None = None,
        masks: DropoutMasks | None = None,
        last_only: bool = False,
    ) -> Recurrence:
        """Return the states, and what the last step hands on, of a layer without dilation.

        Parameters
        ----------
        inputs
            Features `(B, L, I)`.
        memory
            What another layer, or this one, has handed on, `(M, B, D)`: the state before the first step and, of an
            LSTM, the cell; ``None`` for zeros.
        masks
            What dropout hides of these sequences; by default it is drawn.
        last_only
            Whether only the last state is needed.
        """
        masks = masks or self.sample_masks(inputs)
        return self._run(masks.applied_to(inputs), masks.of_state, last_only, memory)

    def sample_masks(self, inputs: torch.Tensor) -> DropoutMasks:
        """Draw what dropout hides of sequences, whose features of a step are like those of `inputs`, `(B, L, I)`."""
        of_inputs = of_state = None
        if self.dropout is not None:
            of_inputs = self.dropout.sample_mask(inputs.new_empty(inputs.shape[0], self.input_dim))
        if self.recurrent_dropout is not None:
            of_state = self.recurrent_dropout.sample_mask(inputs.new_empty(inputs.shape[0], self.hidden_dim))
        return DropoutMasks(of_inputs, of_state)

    def _run(
        self, inputs: torch.Tensor, mask: torch.Tensor | None, last_only: bool, initial: torch.Tensor | None = None
    ) -> Recurrence:
        """Return the states of sequences, each state following the one before; `mask` is of what follows."""
        weights = self.weights
        kernel = choose_kernel(self.cell, inputs, mask, weights, initial)
        if kernel is Kernel.COMPILED:
            return run_compiled(self.cell, inputs, mask, weights, last_only, initial)
        if kernel is Kernel.STEPS:
            return run_in_steps(self.cell, inputs, mask, weights, last_only, initial)
        states, last_cell = run_in_torch(self.cell, inputs, weights, self.training, initial)
        return Recurrence(states[:, -1:] if last_only else states, last_cell)

    @property
    def weights(self) -> Weights:
        """The weights by their names in the equations."""
        return Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, self.norm_weight, self.norm_bias)

    def load_keras_weights(self, kernel: np.ndarray, recurrent_kernel: np.ndarray, bias: np.ndarray) -> None:
        """Load the weights that ``get_weights()`` returns for the layer of the same name in Keras.

        Parameters
        ----------
        kernel
            Input kernel, of shape `(I, G * D)`.
        recurrent_kernel
            Recurrent kernel, of shape `(D, G * D)`.
        bias
            Bias, of shape `(G * D,)`; for a GRU `(2, G * D)`, that of the input and that of the state.

        Raises
        ------
        ValueError
            If a shape is not that of this layer.
        """
        gates = self.cell.n_gates * self.hidden_dim
        bias_shape = (2, gates) if self.has_recurrent_bias else (gates,)
        expected_shapes = (self.input_dim, gates), (self.hidden_dim, gates), bias_shape
        for name, weight, expected in zip(
            ("kernel", "recurrent_kernel", "bias"), (kernel, recurrent_kernel, bias), expected_shapes, strict=True
        ):
            if weight.shape != expected:
                raise ValueError(
                    f"Expected `{name}` of shape {expected} for {type(self).__name__}({self.input_dim}, "
                    f"{self.hidden_dim}), got {weight.shape}. Build the layer with the sizes of the Keras layer."
                )
        biases = np.atleast_2d(bias)
        with torch.no_grad():
            self.weight_ih.copy_(self._from_keras(kernel).T)
            self.weight_hh.copy_(self._from_keras(recurrent_kernel).T)
            self.bias_ih.copy_(self._from_keras(biases)[0])
            if self.bias_hh is not None:
                self.bias_hh.copy_(self._from_keras(biases)[1])

    def _from_keras(self, weight: np.ndarray) -> torch.Tensor:
        """Reorder the gates along the last dimension."""
        gates = np.split(weight, self.cell.n_gates, axis=-1)
        return torch.from_numpy(np.concatenate([gates[gate] for gate in self.keras_gates], axis=-1))


def _simple_rnn_step(
    projected: torch.Tensor, recurrent: torch.Tensor, state: torch.Tensor, cell: torch.Tensor, normalize: Normalize
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tanh(normalize(0, projected + recurrent)), cell


def _torch_simple_rnn(
    inputs: torch.Tensor, initial: torch.Tensor, weights: list[torch.Tensor], is_training: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    states, _ = torch.rnn_tanh(inputs, initial, weights, True, 1, 0.0, is_training, False, True)
    return states, None


class SimpleRNN(RecurrentLayer):
    """Keras' ``SimpleRNN``: ``h = tanh(W x + U h + b)``."""

    cell = Cell("simple_rnn", n_gates=1, n_values=0, step=_simple_rnn_step, torch_layer=_torch_simple_rnn)
    keras_gates = (0,)


def _lstm_step(
    projected: torch.Tensor, recurrent: torch.Tensor, state: torch.Tensor, cell: torch.Tensor, normalize: Normalize
) -> tuple[torch.Tensor, torch.Tensor]:
    sums = enumerate((projected + recurrent).chunk(4, dim=-1))
    input_gate, forget_gate, candidate, output_gate = (normalize(position, gate) for position, gate in sums)
    cell = torch.sigmoid(forget_gate) * cell + torch.sigmoid(input_gate) * torch.tanh(candidate)
    return torch.sigmoid(output_gate) * torch.tanh(normalize(4, cell)), cell


def _torch_lstm(
    inputs: torch.Tensor, initial: torch.Tensor, weights: list[torch.Tensor], is_training: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    state_and_cell = [initial[:1], initial[1:]]
    states, _, last_cell = torch.lstm(inputs, state_and_cell, weights, True, 1, 0.0, is_training, False, True)
    return states, last_cell[0]


class LSTM(RecurrentLayer):
    """Keras' ``LSTM`` [1]_. The bias of the forget gate starts at one.

    References
    ----------
    .. [1] S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", 1997,
           https://doi.org/10.1162/neco.1997.9.8.1735
    """

    cell = Cell("lstm", n_gates=4, n_values=5, step=_lstm_step, torch_layer=_torch_lstm, n_memories=2)
    keras_gates = (0, 1, 2, 3)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.ones_(self.bias_ih[self.hidden_dim : 2 * self.hidden_dim])
        if self.norm_bias is not None:  # a bias that all units of a gate share is no more after normalisation
            nn.init.ones_(self.norm_bias[1])


def _gru_step(
    projected: torch.Tensor, recurrent: torch.Tensor, state: torch.Tensor, cell: torch.Tensor, normalize: Normalize
) -> tuple[torch.Tensor, torch.Tensor]:
    reset_in, update_in, candidate_in = projected.chunk(3, dim=-1)
    reset_rec, update_rec, candidate_rec = recurrent.chunk(3, dim=-1)
    reset = torch.sigmoid(normalize(0, reset_in + reset_rec))
    update = torch.sigmoid(normalize(1, update_in + update_rec))
    candidate = torch.tanh(normalize(2, candidate_in + reset * candidate_rec))
    return update * state + (1 - update) * candidate, cell


def _torch_gru(
    inputs: torch.Tensor, initial: torch.Tensor, weights: list[torch.Tensor], is_training: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    states, _ = torch.gru(inputs, initial, weights, True, 1, 0.0, is_training, False, True)
    return states, None


class GRU(RecurrentLayer):
    """Keras' ``GRU`` [1]_ as it is by default, with the reset gate applied after the matrix product.

    References
    ----------
    .. [1] K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
           Translation", 2014, https://arxiv.org/abs/1406.1078
    """

    cell = Cell("gru", n_gates=3, n_values=4, step=_gru_step, torch_layer=_torch_gru)
    keras_gates = (1, 0, 2)  # reset, update, candidate here; update, reset, candidate in Keras
    has_recurrent_bias = True


CellName: TypeAlias = Literal["RNN", "LSTM", "GRU"]

RECURRENT_LAYERS: dict[CellName, type[RecurrentLayer]] = {"RNN": SimpleRNN, "LSTM": LSTM, "GRU": GRU}
"""The recurrent layers by the name that Darts gives them in its argument `model`."""


class RecurrentStack(nn.Sequential):
    """A stack of recurrent layers, from `(B, L, I)` to the states of the top layer, `(B, L, D)`.

    Parameters
    ----------
    model
        ``"RNN"``, ``"LSTM"`` or ``"GRU"``.
    input_dim
        Number of features of a time step, `I`.
    hidden_dim
        Number of units of each layer, `D`.
    n_layers
        Number of layers.
    dropout
        Fraction of each layer's input features that is dropped.
    recurrent_dropout
        Fraction of each layer's state that is dropped before the next step.
    dilations
        Dilation of each layer [1]_. With it, each layer's states are added to those of the layer below [2]_; by
        default ``None``: neither.
    layer_norm
        Whether the sums that enter each layer's gates are normalised.

    References
    ----------
    .. [1] S. Chang et al., "Dilated Recurrent Neural Networks", 2017, https://arxiv.org/abs/1710.02224
    .. [2] S. Smyl, "A hybrid method of exponential smoothing and recurrent neural networks for time series
           forecasting", 2020, https://doi.org/10.1016/j.ijforecast.2019.03.017
    """

    def __init__(
        self,
        model: CellName,
        input_dim: int,
        hidden_dim: int,
        n_layers: int = 1,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dilations: Sequence[int] | None = None,
        layer_norm: bool = False,
    ) -> None:
        layer_class = RECURRENT_LAYERS[model]
        input_dims = [input_dim] + [hidden_dim] * (n_layers - 1)
        super().__init__(
            *(
                layer_class(dim, hidden_dim, dropout, recurrent_dropout, dilation, layer_norm)
                for dim, dilation in zip(input_dims, dilations or [1] * n_layers, strict=True)
            )
        )
        self.output_dim = hidden_dim
        self.is_residual = dilations is not None

    def forward(self, inputs: torch.Tensor, last_only: bool = False) -> torch.Tensor:
        """Return the topmost layer's states `(B, L, D)` of `inputs` `(B, L, I)`, or only the last one, `(B, 1, D)`."""
        states = inputs
        for position, layer in enumerate(self, start=1):
            below, states = states, layer(states, last_only and position == len(self))
            if self.is_residual and position > 1:
                states = states + below[:, -states.shape[1] :]
        return states

    def go_on(
        self,
        inputs: torch.Tensor,
        memories: Sequence[torch.Tensor] | None = None,
        masks: Sequence[DropoutMasks] | None = None,
        last_only: bool = False,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the topmost layer's states, and what the last step of each layer hands on, without dilations.

        Parameters
        ----------
        inputs
            Features `(B, L, I)`.
        memories
            What the layers of another stack of this kind, or of this one, have handed on, `(M, B, D)` each; by default
            zeros.
        masks
            What dropout hides of these sequences in each layer; by default it is drawn.
        last_only
            Whether only the last state is needed.
        """
        states, handed_on = inputs, []
        layers: Iterator[Any] = iter(self)
        for position, layer in enumerate(layers):
            memory = None if memories is None else memories[position]
            mask = None if masks is None else masks[position]
            made = layer.go_on(states, memory, mask, last_only and position == len(self) - 1)
            states = made.states
            handed_on.append(made.memory)
        return states, handed_on

    def sample_masks(self, inputs: torch.Tensor) -> list[DropoutMasks]:
        """Draw what dropout hides in each layer of sequences such as `inputs`, `(B, L, I)`."""
        layers: Iterator[Any] = iter(self)
        return [layer.sample_masks(inputs) for layer in layers]


def check_dilations(dilations: Sequence[int] | None, n_layers: int, n_steps: int) -> None:
    """Check that there is a dilation for each layer, and that none skips all that the layer reads.

    Parameters
    ----------
    dilations
        Dilation of each layer, or ``None``.
    n_layers
        Number of layers.
    n_steps
        Number of time steps that the layers read.

    Raises
    ------
    ValueError
        If there is not, or one does.
    """
    if dilations is None:
        return
    if len(dilations) != n_layers:
        raise ValueError(
            f"Expected `dilations` to hold one for each of n_rnn_layers={n_layers}, got {list(dilations)}. "
            f"Give {n_layers}, or set n_rnn_layers={len(dilations)}."
        )
    for position, dilation in enumerate(dilations):
        if dilation >= n_steps:
            raise ValueError(
                f"Expected `dilations[{position}]` to be less than the {n_steps} steps that the layer reads, got "
                f"{dilation}: no state would follow another. Make it smaller, or the input chunk longer."
            )
