"""Language models as work: what is asked, what is answered, what a model is. No engine in here."""
