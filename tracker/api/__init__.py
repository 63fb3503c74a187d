"""REST under ``/api/v1``: jobs, units, peers, accounts, ledger, blobs. Described by OpenAPI."""
