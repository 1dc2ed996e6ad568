from .classifier import SentimentClassifier as SentimentClassifier
from .covariates import sentiment_series as sentiment_series
from .explanation import Explanation as Explanation
from .explanation import Phrase as Phrase
from .vectorizer import Word2VecVectorizer as Word2VecVectorizer
from .word_vectors import SharedWordVectors as SharedWordVectors
from .word_vectors import load_word_vectors as load_word_vectors
from .word_vectors import train_word_vectors as train_word_vectors
