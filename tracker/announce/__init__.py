"""The torrent tracker proper: who has which torrent, over HTTP and over WebTorrent's WebSocket."""
