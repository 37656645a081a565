"""What the outside may see of a running process; the privacy rules of logging live here.

events   the fields an event may have, and how each is made harmless
log      one typed function per event
"""
