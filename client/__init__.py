"""The volunteer, the validator peer, the submitter, and what they share on the wire."""
