"""Texts to vectors.

What belongs here: the `EncoderSpec` that travels with every vector, encoders, the vector cache, base models, BM25
sparse vectors, engines for several devices. What does not: choosing or judging models (`training`, `evaluation`).
"""
