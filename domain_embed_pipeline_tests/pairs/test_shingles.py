from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain_embed_pipeline.pairs.shingles import comparison_key, containment, jaccard, shingle_hashes, words_of


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("What is HIT?", "what is hit"),
        ("Bell\u2019s palsy", "bell's  palsy!"),
        ("ﬁbrillation", "fibrillation"),
        ("4Ts-score", "4ts score"),
    ],
)
def test_case_punctuation_and_spacing_do_not_make_another_text(left: str, right: str) -> None:
    assert comparison_key(left) == comparison_key(right)


def test_scripts_without_spaces_give_one_word_a_character() -> None:
    assert words_of("心房細動 AF") == ["心", "房", "細", "動", "af"]


def test_jaccard_and_containment_of_word_runs_by_hand() -> None:
    left = shingle_hashes("a b c d".split(), 2)  # ab bc cd
    right = shingle_hashes("b c d e f".split(), 2)  # bc cd de ef
    assert jaccard(left, right) == pytest.approx(2 / 5)
    assert containment(left, right) == pytest.approx(2 / 3)


def test_a_text_shorter_than_a_shingle_is_one_shingle_and_no_words_are_none() -> None:
    assert shingle_hashes(["a", "b"], 3).size == 1
    assert shingle_hashes([], 3).size == 0
    assert jaccard(shingle_hashes([], 3), shingle_hashes([], 3)) == 0.0


@given(st.lists(st.sampled_from("abcdef"), max_size=12), st.integers(1, 4))
def test_a_text_has_as_many_shingles_as_distinct_runs(words: list[str], size: int) -> None:
    used = min(size, len(words))
    runs = {tuple(words[start : start + used]) for start in range(len(words) - used + 1)} if words else set()
    assert shingle_hashes(words, size).size == len(runs)


def test_hashes_are_the_same_in_every_process() -> None:
    code = "from domain_embed_pipeline.pairs import shingles; print(shingles.shingle_hashes(['ward', 'round'], 2)[0])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed) == int(shingle_hashes(["ward", "round"], 2)[0])
