"""Study protocols, signatures, the federation, disclosure policy, ledger and receipts."""
