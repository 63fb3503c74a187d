// Drives the client of npm's bittorrent-tracker: one JSON command a line in, one JSON event a line out.
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [directory, announce, infoHash, peerId, port] = process.argv.slice(2)
const path = `${directory}/node_modules/bittorrent-tracker/client.js`
const { default: Client } = await import(pathToFileURL(path))

const say = (event, more = {}) => process.stdout.write(JSON.stringify({ event, ...more }) + '\n')

const client = new Client({ infoHash, peerId, announce, port: Number(port), rtcConfig: { iceServers: [] } })
client.on('error', error => say('error', { reason: error.message }))
client.on('warning', error => say('warning', { reason: error.message }))
client.on('update', ({ complete, incomplete }) => say('update', { complete, incomplete }))
client.on('scrape', ({ complete, incomplete, downloaded, infoHash: hash }) =>
  say('scrape', { complete, incomplete, downloaded, hash }))
client.on('peer', peer => {
  if (typeof peer === 'string') return say('peer', { address: peer })
  say('peer', { id: peer.id })
  peer.on('error', () => {})
  peer.once('connect', () => peer.send(`hello from ${peerId}`))
  peer.once('data', data => say('data', { text: Buffer.from(data).toString() }))
})

createInterface({ input: process.stdin }).on('line', line => {
  const [command, options] = JSON.parse(line)
  client[command](options)
}).on('close', () => process.exit(0))
say('ready')
