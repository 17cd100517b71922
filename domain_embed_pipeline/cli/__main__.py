"""`python -m domain_embed_pipeline.cli`, for where the `domain-embed` script is not on the path."""

from domain_embed_pipeline.cli import main

main()
