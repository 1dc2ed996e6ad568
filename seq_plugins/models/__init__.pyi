from .arguments import boolean as boolean
from .arguments import fraction as fraction
from .arguments import instance_of as instance_of
from .arguments import integer_from as integer_from
from .arguments import layer_sizes as layer_sizes
from .arguments import one_of as one_of
from .arguments import optional as optional
from .base import SequenceModel as SequenceModel
from .conv1d_gru import Conv1DGRUModel as Conv1DGRUModel
from .deep_rnn import DeepRNNModel as DeepRNNModel
from .encoder_decoder_rnn import EncoderDecoderRNNModel as EncoderDecoderRNNModel
from .linear import LinearModel as LinearModel
from .module import Encoder as Encoder
from .module import SequenceModule as SequenceModule
from .seq2seq_rnn import Seq2SeqRNNModel as Seq2SeqRNNModel
from .simple_rnn import SimpleRNNModel as SimpleRNNModel
from .wavenet import WaveNetModel as WaveNetModel

MODEL_MODULES: dict[str, str]
