"""Configuration: text in, model out; no stage imports it.

values   the kinds of value, read strictly
model    one frozen class per file and section, with its documentation
load     TOML text -> model, or every problem at once
example  the annotated files, generated from the model
keys     the text form of key files
edges    the text form of edges.toml, the enrolled edge nodes
policy   edits of trust.toml that keep the operator's comments
records  the DNS records to publish
"""
