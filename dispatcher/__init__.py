"""System2: the vocabulary, the workflow tables, the engine and loops that run them."""
