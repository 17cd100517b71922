"""Our retriever in the shape that LangChain and LlamaIndex expect. Needs the `langchain` or `llama-index` extra.

What belongs here: translation, nothing else. Both frameworks' own Qdrant stores read our collections too, but with an
encoder that the user must keep in step by hand; these retrievers change it at each swap.
"""

# The frameworks are extras, which a type check without them must survive.
# pyright: reportMissingImports=false

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.errors import MissingDependencyError
from domain_embed_pipeline.ids import point_id_of
from domain_embed_pipeline.serving.querying import SearchFilter
from domain_embed_pipeline.serving.records import SearchHit
from domain_embed_pipeline.serving.retriever import Retriever

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever as LangChainRetriever
    from llama_index.core.retrievers import BaseRetriever as LlamaIndexRetriever


def langchain_retriever(retriever: Retriever, *, k: int = 10, filter: SearchFilter | None = None) -> LangChainRetriever:
    """A LangChain retriever: `Document`s with the chunk's text and its metadata, best first.

    Raises:
        MissingDependencyError: If LangChain is not installed.
    """
    try:
        from langchain_core.documents import Document
        from langchain_core.retrievers import BaseRetriever
    except ModuleNotFoundError as error:
        raise _missing(error, "langchain") from error

    class DomainEmbedRetriever(BaseRetriever):
        """Searches what the alias points at."""

        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            return [
                Document(id=point_id_of(hit.chunk_id), page_content=hit.text, metadata=_metadata(hit))
                for hit in retriever.search(query, k, filter)
            ]

    return DomainEmbedRetriever()


def llama_index_retriever(
    retriever: Retriever, *, k: int = 10, filter: SearchFilter | None = None
) -> LlamaIndexRetriever:
    """A LlamaIndex retriever: `TextNode`s with scores, best first.

    Raises:
        MissingDependencyError: If LlamaIndex is not installed.
    """
    try:
        from llama_index.core.retrievers import BaseRetriever
        from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
    except ModuleNotFoundError as error:
        raise _missing(error, "llama-index") from error

    class DomainEmbedRetriever(BaseRetriever):
        """Searches what the alias points at."""

        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            return [
                NodeWithScore(
                    node=TextNode(id_=point_id_of(hit.chunk_id), text=hit.text, metadata=_metadata(hit)),
                    score=hit.score,
                )
                for hit in retriever.search(query_bundle.query_str, k, filter)
            ]

    return DomainEmbedRetriever()


def _metadata(hit: SearchHit) -> dict[str, Any]:
    fields = dataclasses.asdict(hit)
    del fields["text"]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _missing(error: ModuleNotFoundError, extra: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"This retriever needs the package {error.name}.", fix=f"pip install 'domain-embed-pipeline[{extra}]'"
    )
