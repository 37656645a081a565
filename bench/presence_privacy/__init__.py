"""What a curious peer learns from the presence it is shown: an attacker's bench. Pure: nothing is sent.

world     a simulated day: who is online when           seen      what a peer sees of it, by the real machines
chance    confidence intervals                          names     attacks on names and on links between epochs
numbers   attacks on how many there are                 moments   attacks on who came when
plain     the same against unkeyed filters of names     report    figures, goals, table, JSON
plot      the picture                                   __main__  the command
"""
