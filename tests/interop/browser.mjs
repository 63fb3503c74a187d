// Headless Chromium with WebTorrent's bundle in a page, driven by playwright-core:
// one JSON command a line in, one JSON answer a line out. Files pass through FOLDER: the page gets them, and puts what it fetched there.
import { createReadStream, createWriteStream } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const [bundles, program, folder] = process.argv.slice(2)
const { chromium } = createRequire(import.meta.url)(join(bundles, 'playwright-core'))

const scripts = {
  'page.js': fileURLToPath(new URL('page.js', import.meta.url)),
  'webtorrent.js': join(bundles, 'webtorrent', 'dist', 'webtorrent.min.js')
}
const server = createServer((request, response) => {
  const name = basename(request.url)
  if (request.method === 'PUT') {
    return request.pipe(createWriteStream(join(folder, name))).on('close', () => response.end())
  }
  if (name === 'page') {
    response.setHeader('Content-Type', 'text/html')
    return response.end('<!doctype html><link rel="icon" href="data:,"><script type="module" src="page.js"></script>')
  }
  if (name in scripts) response.setHeader('Content-Type', 'text/javascript')
  createReadStream(scripts[name] ?? join(folder, name)).pipe(response)
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))

const quiet = [
  '--no-sandbox',
  '--allow-loopback-in-peer-connection',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-default-apps',
  '--disable-domain-reliability',
  '--disable-sync',
  '--no-first-run',
  '--no-pings'
]
const browser = await chromium.launch({ executablePath: program, headless: true, args: quiet })
const page = await browser.newPage()
page.on('console', message => process.stderr.write(message.text() + '\n'))
page.on('pageerror', error => process.stderr.write(`${error}\n`))
await page.goto(`http://127.0.0.1:${server.address().port}/page`)
await page.waitForFunction(() => window.commands)

const say = answer => process.stdout.write(JSON.stringify(answer) + '\n')
say({ version: browser.version() })
for await (const line of createInterface({ input: process.stdin })) {
  say(await page.evaluate(async ([name, options]) => {
    try {
      return await window.commands[name](options)
    } catch (error) {
      return { error: `${error}` }
    }
  }, JSON.parse(line)))
}
await browser.close()
process.exit(0)
