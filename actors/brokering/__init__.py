"""How devices are lent: records, tokens, waiting, reclaiming, and the ledger that keeps them on the bus."""
