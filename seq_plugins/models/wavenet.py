"""Forecasts from dilated causal convolutions."""

from collections.abc import Sequence
from typing import Any, ClassVar

from seq_plugins.layers import DilatedConvolutions
from seq_plugins.layers.dilated_convolution import check_dilations_of_convolutions, dilations_within
from seq_plugins.models.arguments import boolean
from seq_plugins.models.base import SequenceModel
from seq_plugins.models.module import SequenceModule


class WaveNetModule(SequenceModule):
    """Dilated causal convolutions and head.

    Parameters
    ----------
    num_filters
        Number of filters of each convolution.
    kernel_size
        Number of time steps that a filter sees at once.
    dilations
        Dilation of each convolution, or ``None`` for the default ones.
    gated
        Whether the convolutions are gated, with residual and skip connections.
    dropout
        Share of each convolution's inputs dropped.
    sequence_to_sequence
        Whether the loss is on every step.
    activation
        Name of the ``torch.nn`` activation of the convolutions and between the head's layers.
    **kwargs
        Parameters of :class:`SequenceModule`.
    """

    def __init__(
        self,
        num_filters: int,
        kernel_size: int,
        dilations: Sequence[int] | None,
        gated: bool,
        dropout: float,
        sequence_to_sequence: bool,
        activation: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(activation=activation, sequence_to_sequence=sequence_to_sequence, **kwargs)
        if dilations is None:
            dilations = dilations_within(self.input_chunk_length, kernel_size)
        self.set_encoder(
            DilatedConvolutions(self.input_dim, num_filters, kernel_size, dilations, gated, dropout, activation)
        )


class WaveNetModel(SequenceModel):
    """A stack of dilated causal convolutions, as in WaveNet.

    Each convolution sees a few steps of the one below, `dilation` steps apart, and never a later step than its own.
    With doubling dilations, a few layers look far back: by default, the receptive field is 31 steps. All steps are
    computed in parallel, whereas a recurrent layer processes them one after another.

    As in :class:`Seq2SeqRNNModel`, the loss is by default computed on every step. The remarks there on shifts, instance
    normalisation (loss on the last step only) and sample weights (they must cover the window) apply here, too.

    Parameters
    ----------
    {chunk_parameters}
    num_filters
        Number of filters of each convolution.
    kernel_size
        Number of time steps that a filter sees at once.
    dilations
        Number of time steps from one of these to the next, for each convolution; by default ``None``: 1, 2, 4, 8, 1, 2,
        4 and 8 or, of a short input chunk, those whose filters do not reach beyond it. The topmost convolution has seen
        ``1 + (kernel_size - 1) * sum(dilations)`` steps (and ``kernel_size - 1`` more with `gated`). Where that is more
        than the input chunk, there are zeros before the oldest; what no state sees is of no use.
    gated
        Whether a convolution's output is a tanh times a sigmoid, is added to its input, and goes to the head by a skip
        connection, as in the paper; there is one more convolution below then, without dilation. By default ``False``: a
        plain stack, each convolution followed by `activation`, as in the chapter.
    dropout
        Fraction of each convolution's input features that is dropped in training, with the same mask at every time step
        of a sequence. ``predict(..., mc_dropout=True)`` keeps it on.
    sequence_to_sequence
        Whether the loss is on every step or on the last one only.
    activation
        Name of the ``torch.nn`` activation after each convolution (with `gated`, after the sum of the skip connections
        and the layer that follows it) and between the fully connected layers of the head.
    {hidden_layer_parameters}
    {shared_parameters}
        In particular if a filter reaches beyond the input chunk.

    References
    ----------
    A. van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, https://arxiv.org/abs/1609.03499

    A. Géron, "Hands-On Machine Learning with Scikit-Learn, Keras and TensorFlow", 3rd edition, 2022, chapter 15,
    https://github.com/ageron/handson-ml3
    """

    _module_class = WaveNetModule
    _argument_checks: ClassVar = {"gated": boolean}

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        num_filters: int = 32,
        kernel_size: int = 2,
        dilations: Sequence[int] | None = None,
        gated: bool = False,
        dropout: float = 0.0,
        sequence_to_sequence: bool = True,
        activation: str = "ReLU",
        hidden_fc_sizes: Sequence[int] | None = None,
        segment_length: int | None = None,
        use_static_covariates: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__()

    def _check_arguments(self, arguments: dict[str, Any]) -> None:
        super()._check_arguments(arguments)
        check_dilations_of_convolutions(
            arguments["dilations"], arguments["kernel_size"], arguments["input_chunk_length"]
        )
