"""The kinds of ledger entries, by what they are about; ``workunits.entries`` reads them all."""
