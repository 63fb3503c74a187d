"""How well checking tells honest answers of a model from others, measured on this machine."""
