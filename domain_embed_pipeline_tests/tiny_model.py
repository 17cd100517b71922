"""A real sentence-transformers model that is built in a second and trains in seconds.

BERT with one layer of width 32, a WordPiece vocabulary of the words it is given, mean pooling, unit length. The same
texts and seed give the same files.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WIDTH = 32
MAX_LENGTH = 64
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build_tiny_model(
    folder: str | Path, texts: Iterable[str], *, seed: int = 0, dropout: float = 0.0, width: int = WIDTH
) -> str:
    """Write the model into `folder` and return its path.

    Args:
        folder: Made when it is not there.
        texts: Their words, lower-cased, become the vocabulary; a word outside it is spelled in letters.
        seed: Of the random weights.
        dropout: Off by default, so that results do not depend on how a batch is divided.
        width: Of the vectors.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()

    folder = Path(folder)
    backbone = folder.parent / f".{folder.name}.backbone"
    tokenizer = _tokenizer(texts)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=MAX_LENGTH,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(backbone)
    tokenizer.save_pretrained(backbone)
    transformer = Transformer(str(backbone), max_seq_length=MAX_LENGTH)
    model = SentenceTransformer(modules=[transformer, Pooling(width), Normalize()], device="cpu")
    model.save_pretrained(str(folder))
    return str(folder)


def build_tiny_reranker(folder: str | Path, texts: Iterable[str], *, seed: int = 0) -> str:
    """Write an untrained cross-encoder with the same vocabulary into `folder` and return its path."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = _tokenizer(texts)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=2 * MAX_LENGTH,
        num_labels=1,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertForSequenceClassification(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return str(folder)


def _tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    letters = sorted({letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz0123456789"))
    entries = dict.fromkeys([*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), *words])
    vocabulary = {entry: place for place, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    special = dict(zip(names, SPECIAL_TOKENS, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=MAX_LENGTH, **special)


def change_weights(folder: str | Path, *, seed: int = 1) -> None:
    """Add a little noise to every weight of a model folder: another model under the same names."""
    import torch
    from safetensors.torch import load_file, save_file

    path = Path(folder) / "model.safetensors"
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: weight + 0.1 * torch.randn(weight.shape, generator=generator) for name, weight in load_file(path).items()
    }
    save_file(weights, path, metadata={"format": "pt"})


TOPICS = 30


def planted_words() -> list[str]:
    """The vocabulary of `planted_texts`."""
    return [f"{kind}{topic}" for kind in ("ask", "tell") for topic in range(TOPICS)] + ["how", "is", "noted", "here"]


def planted_texts(count: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """Queries with their passages: the words of the two never meet, so only training can match them.

    Each speaks of two of 30 topics; no two speak of the same two.
    """
    couples = [(first, second) for first in range(TOPICS) for second in range(first)]
    chosen = random.Random(seed).sample(couples, count)
    return [(f"how is ask{a} ask{b}", f"tell{a} tell{b} is noted here") for a, b in chosen]
