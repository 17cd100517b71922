"""Where the arithmetic of encoding happens: in this process, on several devices of a machine, or on a Ray cluster.

What belongs here: engines that give the same vectors for the same texts (one contract test holds them to it), and
choosing one by settings. What does not: what a vector is (`spec`), keeping vectors (`vector_cache`).
"""
