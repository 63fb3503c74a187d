"""Sources that are copied into the engine images: each file stands alone, or beside the others."""
