# results -> catalog, while they are made; jobs do not wait for it. Nothing where none is named.
from xfel_apps.catalog.follower import Follower

FOLLOWER = Follower([EXPERIMENT])


onstart:
    FOLLOWER.start()


onsuccess:
    FOLLOWER.end()


onerror:
    FOLLOWER.end()
