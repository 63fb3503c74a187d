"""Blobs between peers: the BitTorrent peer protocol over WebRTC data channels.

Decisions are pure (``protocol``, ``picker``, ``download``, ``upload``); ``webrtc``, ``signalling``,
``webseed`` and ``swarm`` are the thin shells around sockets, files and the clock.
"""
