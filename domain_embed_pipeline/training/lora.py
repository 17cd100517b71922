"""Low-rank adapters (LoRA, arXiv 2106.09685): few weights are trained, and merged into the model when it is done.

What is stored is a plain model: blends, the registry and whoever loads it know nothing of adapters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.errors import MissingDependencyError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SCALING = 2
"""Alpha divided by rank."""


def add_lora(model: SentenceTransformer, rank: int) -> None:
    """Put adapters beside every linear layer and freeze everything else.

    Raises:
        MissingDependencyError: If peft is not installed.
    """
    try:
        from peft import LoraConfig  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependencyError(
            "lora_rank is set, and the package peft is not installed.",
            fix='pip install "domain-embed-pipeline[lora]", or leave lora_rank empty.',
        ) from error

    model.add_adapter(
        LoraConfig(r=rank, lora_alpha=SCALING * rank, lora_dropout=0.0, target_modules="all-linear", bias="none")
    )


def merge_lora(model: SentenceTransformer) -> None:
    """Add what the adapters learned to the layers they stand beside, and take them away."""
    from peft.tuners.tuners_utils import BaseTunerLayer  # pyright: ignore[reportMissingImports]

    adapted: list[tuple[str, Any]] = [
        (name, module) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)
    ]
    for name, layer in adapted:
        layer.merge(safe_merge=True)
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, layer.get_base_layer())
    backbone: Any = model[0].auto_model
    backbone._hf_peft_config_loaded = False
    if hasattr(backbone, "peft_config"):
        del backbone.peft_config
    for parameter in model.parameters():
        parameter.requires_grad_(True)
