from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from domain_embed_pipeline.corpus.tokens import count_each, load_token_counter
from domain_embed_pipeline.errors import ModelError


def save_tokenizer(folder: Path) -> None:
    """Words, with special tokens and a truncation at two tokens as models ship them."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "[CLS]": 1, "heart": 2, "failure": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=32)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def test_tokens_are_counted_without_special_tokens_truncation_and_padding(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    assert load_token_counter(tmp_path)("acute heart failure") == 3


def test_many_texts_are_counted_as_one_by_one(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    texts = ["acute heart failure", "", "heart", "Herz – 心 failure"]
    counter = load_token_counter(tmp_path)
    assert count_each(texts, counter) == [counter(text) for text in texts]
    assert count_each(texts, lambda text: len(text.split())) == [3, 0, 1, 4]


def test_the_tokenizer_of_the_first_module_is_found(tmp_path: Path) -> None:
    save_tokenizer(tmp_path / "0_Transformer")
    assert load_token_counter(str(tmp_path))("heart") == 1


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_token_counter(tmp_path)


def test_counting_needs_neither_torch_nor_transformers(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    code = (
        "import sys; from domain_embed_pipeline.corpus.tokens import load_token_counter;"
        f"load_token_counter({str(tmp_path)!r})('heart');"
        "print([name for name in ('torch', 'transformers', 'dagster') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
