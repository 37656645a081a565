"""From DNS answers to an Endpoint: DNSSEC validation, DANE, SRV and the identity record; does no I/O."""
