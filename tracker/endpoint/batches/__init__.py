"""Batches: many requests in a file, asked when nobody is in a hurry (OpenAI Batch API)."""
