"""One module a format: bytes to a `ParsedDocument`, or to chunks that somebody else cut.

What does not belong here: finding and opening files (`sources`), cutting (`chunking`).
"""
