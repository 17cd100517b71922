"""`domain-embed run` with knobs that suit the tiny model: `python -m domain_embed_pipeline_tests.planted_run`.

Where the corpus, the model and the artifacts lie comes from the environment, as for the command itself.
"""

from __future__ import annotations

import signal
import sys

from domain_embed_pipeline.cli import main
from domain_embed_pipeline.defs.profiles import PROFILES

TRAINING = {"learning_rate": 2e-2, "epochs": 6.0, "batch_size": 32, "evaluations_per_epoch": 1}
PROFILES["planted"] = {
    "generated_questions": {"mode": "direct"},
    "structural_pairs": {"use_title_body": False, "use_adjacent_sentences": False},
    # An untrained model puts all texts close together, so its cosines say nothing about paraphrases.
    "training_pairs": {"leak_similarity": 1.01},
    "stage_one_model": TRAINING,
    "finetuned_model": {**TRAINING, "learning_rate": 5e-3, "epochs": 1.0, "blend_weights": [0.75]},
}

if __name__ == "__main__":
    # A shell's background job ignores Ctrl-C, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv[1:] = ["run", "--profile", "planted", *sys.argv[1:]]
    main()
