"""Engines that run language models inside the sandbox."""
