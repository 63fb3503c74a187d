"""The vocabulary that every part shares: ids, manifests, units, torrents, wire messages.

Nothing here opens a socket, touches a database or reads a clock.
"""
