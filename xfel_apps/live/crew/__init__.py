"""crew: ranks that stay warm and take a chunk after the other, each frame read once.

`python -m mpi4py -m xfel_apps.live.crew --results R --name CREW --pool POOL --daemon ID`
"""
