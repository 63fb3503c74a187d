"""What is changed in llama.cpp before it is compiled: see ``sandbox.models.build``."""
