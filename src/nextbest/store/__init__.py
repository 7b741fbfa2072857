"""The workspace: what Nextbest remembers between runs. Consent, decisions and contacts, answers, and the ledger."""
