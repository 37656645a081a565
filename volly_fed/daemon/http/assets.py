POLICY = "default-src 'none'"
