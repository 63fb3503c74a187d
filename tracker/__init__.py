"""The service: announce, signalling, work session, ledger, store, web pages."""
