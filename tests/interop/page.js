// Runs in Chromium. Commands take what is named in FOLDER of browser.mjs, and answer with an object.
import WebTorrent from '/webtorrent.js'

const client = new WebTorrent({ tracker: { rtcConfig: { iceServers: [] } } })
client.on('error', error => console.log(`client: ${error}`))

const take = async name => new Uint8Array(await (await fetch(name)).arrayBuffer())
const once = (emitter, event) => new Promise(resolve => emitter.once(event, resolve))

// A store of chunks that holds everything from the start, so that the client checks and seeds it.
const holding = content => class {
  constructor (chunkLength) { this.chunkLength = chunkLength }
  get (index, options, callback) {
    if (typeof options === 'function') [callback, options] = [options, {}]
    const from = index * this.chunkLength + (options?.offset ?? 0)
    const to = options?.length === undefined ? (index + 1) * this.chunkLength : from + options.length
    queueMicrotask(() => callback(null, content.slice(from, to)))
  }

  put (index, chunk, callback) { queueMicrotask(() => callback(null)) }
  close (callback) { queueMicrotask(() => callback(null)) }
  destroy (callback) { queueMicrotask(() => callback(null)) }
}

const watch = torrent => {
  torrent.on('warning', error => console.log(`torrent: ${error}`))
  torrent.on('wire', wire => console.log(`wire to ${wire.peerId} over ${wire.type}`))
  return torrent
}

window.commands = {
  // Seed CONTENT under TORRENT, which somebody else made.
  async seed ({ torrent, content }) {
    const store = holding(await take(content))
    const added = watch(client.add(await take(torrent), { store, storeCacheSlots: 0 }))
    if (!added.done) await once(added, 'done')
    return { hash: added.infoHash, downloaded: added.downloaded }
  },

  // Make a torrent of CONTENT, as this client does, and seed it.
  async make ({ content, announce }) {
    const file = new File([await take(content)], content)
    const added = await new Promise(resolve => client.seed(file, { announce: [announce] }, resolve))
    return { hash: watch(added).infoHash, magnet: added.magnetURI }
  },

  // Fetch TORRENT, a file's name, or MAGNET; the content goes to INTO.
  async fetch ({ torrent, magnet, into }) {
    const added = watch(client.add(torrent ? await take(torrent) : magnet))
    if (!added.done) await once(added, 'done')
    await fetch(into, { method: 'PUT', body: await added.files[0].blob() })
    return { hash: added.infoHash, downloaded: added.downloaded, files: added.files.length }
  }
}
