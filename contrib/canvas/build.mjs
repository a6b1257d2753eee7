// Builds src/ into relay/server/page/, the static files that the relay serves at "/".
import { build } from 'esbuild'
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const source = new URL('src/', import.meta.url)
const target = new URL('../../relay/server/page/', import.meta.url)
await mkdir(target, { recursive: true })

const { metafile } = await build({
  absWorkingDir: fileURLToPath(new URL('.', import.meta.url)),
  metafile: true,
  entryPoints: { app: fileURLToPath(new URL('app.js', source)) },
  outdir: fileURLToPath(target),
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['chrome109', 'firefox115', 'safari16'],
  legalComments: 'none',
  logLevel: 'info',
})
await build({
  entryPoints: { app: fileURLToPath(new URL('app.css', source)) },
  outdir: fileURLToPath(target),
  minify: true,
  target: ['chrome109', 'firefox115', 'safari16'],
})
await copyFile(new URL('index.html', source), new URL('index.html', target))

// app.js holds other people's code: their licences ask for their notices to go with it
const packages = new Set(Object.keys(metafile.inputs).map(path => path.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//)?.[1]))
packages.delete(undefined)
let notices = ''
for (const folder of [...packages].sort()) {
  const { name, version, license } = JSON.parse(await readFile(`${folder}/package.json`, 'utf8'))
  const file = (await readdir(folder)).find(entry => /^licen[cs]e/i.test(entry))
  const text = file ? await readFile(`${folder}/${file}`, 'utf8') : ''
  notices += `${name} ${version} (${license})\n\n${text.trim()}\n\n${'-'.repeat(72)}\n\n`
}
await writeFile(new URL('notices.txt', target), notices)
