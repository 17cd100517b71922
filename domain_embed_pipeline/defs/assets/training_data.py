"""Group `training_data`: questions, pairs and the held-out evaluation set."""

import dagster as dg

from domain_embed_pipeline.defs.assets.corpus import OWNERS
from domain_embed_pipeline.defs.config.training_data import (
    EvaluationSetConfig,
    QuestionsConfig,
    StructuralPairsConfig,
    TrainingPairsConfig,
)
from domain_embed_pipeline.defs.metadata import training_data as metadata
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.defs.retries import tried_again_later
from domain_embed_pipeline.inputs import ledger_digest
from domain_embed_pipeline.pairs.current_set import QuerySource, current_evaluation_set
from domain_embed_pipeline.pairs.records import StructuralPairs, TrainingPairs
from domain_embed_pipeline.pairs.structural import structural_pairs as make_structural_pairs
from domain_embed_pipeline.pairs.training_pairs import PairCandidates, PairTools, build_training_pairs
from domain_embed_pipeline.questions.generation import GeneratedQuestions, generate_questions
from domain_embed_pipeline.questions.judging import LedgerPairJudge
from domain_embed_pipeline.questions.prompt import PROMPT_VERSION
from domain_embed_pipeline.records import Corpus, DocumentSplits, EvaluationSet

GROUP = "training_data"


@dg.asset(
    group_name=GROUP, kinds={"anthropic", "parquet"}, pool="anthropic_api", code_version=PROMPT_VERSION, owners=OWNERS
)
def generated_questions(
    deployment: Deployment, config: QuestionsConfig, corpus_chunks: Corpus
) -> dg.MaterializeResult[GeneratedQuestions]:
    """Questions that each chunk answers, written by the LLM or imported.

    Answers come from the ledger where they are there already; only what is missing is asked and paid for. Without a
    key and without imported questions the table is empty and structural pairs carry the run.
    """
    workspace = deployment.workspace
    with tried_again_later(), workspace.open_ledger() as ledger, workspace.messages_client() as client:
        questions = generate_questions(
            corpus_chunks.chunks, settings=config.to_settings(), ledger=ledger, client=client
        )
    return dg.MaterializeResult(
        value=questions,
        metadata=metadata.of_questions(questions),
        data_version=dg.DataVersion(questions.questions_version),
    )


@dg.asset(group_name=GROUP, kinds={"python", "parquet"}, code_version="1", owners=OWNERS)
def structural_pairs(
    config: StructuralPairsConfig, corpus_chunks: Corpus, document_splits: DocumentSplits
) -> dg.MaterializeResult[StructuralPairs]:
    """Title-body and adjacent-sentence pairs of the training documents: what can be had without an LLM."""
    pairs = make_structural_pairs(corpus_chunks, document_splits, settings=config.to_settings())
    return dg.MaterializeResult(value=pairs, metadata=metadata.of_structural_pairs(pairs))


@dg.asset(group_name=GROUP, kinds={"python", "parquet"}, code_version="1", owners=OWNERS)
def evaluation_set(
    deployment: Deployment,
    config: EvaluationSetConfig,
    corpus_chunks: Corpus,
    document_splits: DocumentSplits,
    generated_questions: GeneratedQuestions,
) -> dg.MaterializeResult[EvaluationSet]:
    """Held-out queries with their relevant chunks: your own when you gave some, else of held-out documents."""
    queries = current_evaluation_set(
        corpus_chunks,
        document_splits,
        QuerySource(
            own=deployment.settings.queries_path, frozen=deployment.workspace.frozen_queries, renew=config.renew
        ),
        questions=generated_questions.questions,
        settings=config.to_settings(),
    )
    return dg.MaterializeResult(
        value=queries,
        metadata=metadata.of_evaluation_set(queries),
        data_version=dg.DataVersion(queries.evaluation_set_version),
    )


@dg.asset(group_name=GROUP, kinds={"python", "parquet"}, pool="gpu", code_version="3", owners=OWNERS)
def training_pairs(
    deployment: Deployment,
    config: TrainingPairsConfig,
    corpus_chunks: Corpus,
    document_splits: DocumentSplits,
    generated_questions: GeneratedQuestions,
    structural_pairs: StructuralPairs,
    evaluation_set: EvaluationSet,
) -> dg.MaterializeResult[TrainingPairs]:
    """Pairs that passed every filter, with the leakage certificate between them and the evaluation set.

    What was dropped is listed with its reason. A pair that gives away an evaluation query leaves training, never the
    query the test.
    """
    workspace = deployment.workspace
    with tried_again_later(), workspace.open_ledger() as ledger, workspace.messages_client() as client:
        pairs = build_training_pairs(
            corpus_chunks,
            document_splits,
            PairCandidates(
                questions=generated_questions.questions,
                structural=structural_pairs,
                user_pairs=workspace.load_user_pairs(corpus_chunks),
            ),
            evaluation_set=evaluation_set,
            settings=config.to_settings(),
            tools=PairTools(
                encoder=workspace.registry.encoder(workspace.base_model.model_version),
                judge=LedgerPairJudge(ledger=ledger, client=client, settings=config.to_judge_settings()),
                memo_folder=workspace.pair_verdicts,
            ),
        )
        answers = ledger_digest(ledger)
    return dg.MaterializeResult(
        value=pairs,
        metadata=metadata.of_training_pairs(pairs, generated_questions.ledger_cost_usd) | {"ledger_digest": answers},
        data_version=dg.DataVersion(pairs.pairs_version),
    )
