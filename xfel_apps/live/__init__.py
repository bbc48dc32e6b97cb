"""live: runs are processed while they grow, merged as lattices come, and end in the batch's files.

The daemon (`daemon.py`, on a login or workflow node) watches for runs, cuts what is new into chunks
and keeps crews at work. A crew (`crew/`) is an MPI app that stays warm in a Parsl block: it takes
chunks from the queue and does spotfind, index and integrate in one pass over each frame. When a run
is complete it is sealed (`seal.py`): the stages' own apps take over what the crews have done, do
what is missing, and write the same files as the batch. They meet in files (`layout.py`,
`queue.py`), so that each survives the loss of the others.
"""
