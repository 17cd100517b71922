from __future__ import annotations

from domain_embed_pipeline.evaluation.records import Ranking
from domain_embed_pipeline.evaluation.reranking import rerank


def test_the_first_chunks_come_in_the_order_of_the_new_scores() -> None:
    texts = {"a": "far", "b": "nearer", "c": "nearest of all", "d": "never scored, never shown"}
    (ranking,) = rerank(
        [Ranking(("a", "b", "c", "d"), (4.0, 3.0, 2.0, 1.0))],
        ["query"],
        texts=texts,
        score=lambda pairs: [len(passage) for _, passage in pairs],
        depth=3,
    )
    assert ranking == Ranking(("c", "b", "a"), (14.0, 6.0, 3.0))


def test_each_query_is_paired_with_its_own_passages() -> None:
    seen: list[tuple[str, str]] = []

    def score(pairs: list[tuple[str, str]]) -> list[float]:
        seen.extend(pairs)
        return [0.0] * len(pairs)

    rerank([Ranking(("a",), (1.0,)), Ranking(("b",), (1.0,))], ["q1", "q2"], texts={"a": "A", "b": "B"}, score=score)
    assert seen == [("q1", "A"), ("q2", "B")]
