"""What is durable: envelopes, cursors, pins, evidence; one SQLite file, one writer."""
