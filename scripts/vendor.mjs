#!/usr/bin/env node
// Writes the third-party files of the live page under dashboard/page/vendor from pinned npm packages.
//
//   node scripts/vendor.mjs           write the files
//   node scripts/vendor.mjs --check   write nothing; exit 1 if a committed file differs
//
// Needs node 20 or later and npm, nothing else. A package is fetched with `npm pack` and used only if its sha512 is the one
// written here. To raise a version, change the version and the integrity together and say in the commit what moved.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const outDir = join(root, 'dashboard', 'page', 'vendor')

const packages = [
  {
    name: 'uplot',
    version: '1.6.32',
    integrity: 'sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==',
    licence: 'MIT',
    files: { 'uplot.js': 'dist/uPlot.esm.js', 'uplot.css': 'dist/uPlot.min.css', 'uplot.LICENSE': 'LICENSE' },
  },
]

const sha512 = (bytes) => `sha512-${createHash('sha512').update(bytes).digest('base64')}`

/** Fetches a package into a temporary folder and returns the folder that holds its files. */
function fetchPackage({ name, version, integrity }, dir) {
  const [{ filename }] = JSON.parse(execFileSync('npm', ['pack', '--json', '--silent', `${name}@${version}`], { cwd: dir, encoding: 'utf8' }))
  const archive = join(dir, filename)
  const have = sha512(readFileSync(archive))
  if (have !== integrity) throw new Error(`${name}@${version}: have integrity ${have}, want ${integrity}`)
  execFileSync('tar', ['-xzf', archive, '-C', dir])
  return join(dir, 'package')
}

/** Every committed file and what it must hold. */
function build(temporary) {
  const files = new Map()
  const rows = []
  for (const pkg of packages) {
    const source = fetchPackage(pkg, temporary)
    for (const [file, path] of Object.entries(pkg.files)) {
      const bytes = readFileSync(join(source, path))
      files.set(file, bytes)
      rows.push(`| \`${file}\` | ${pkg.name} ${pkg.version}, \`${path}\` | ${pkg.licence} | \`${sha512(bytes)}\` |`)
    }
    rows.push(`| | ${pkg.name} ${pkg.version}, the package | | \`${pkg.integrity}\` |`)
  }
  files.set('README.md', Buffer.from(`# Third-party files of the live page

Written by \`node scripts/vendor.mjs\` from pinned npm packages, byte for byte; \`--check\` compares them. Don't edit them here.

| file | from | licence | hash |
|---|---|---|---|
${rows.join('\n')}
`))
  return files
}

const temporary = mkdtempSync(join(tmpdir(), 'vendor-'))
try {
  const files = build(temporary)
  if (process.argv.includes('--check')) {
    const wrong = [...files].filter(([file, bytes]) => !existsSync(join(outDir, file)) || !readFileSync(join(outDir, file)).equals(bytes)).map(([file]) => file)
    const extra = existsSync(outDir) ? readdirSync(outDir).filter((file) => !files.has(file)) : []
    for (const file of [...wrong, ...extra]) console.error(`vendor: dashboard/page/vendor/${file} is not what the packages give`)
    if (wrong.length + extra.length > 0) process.exitCode = 1
  } else {
    rmSync(outDir, { recursive: true, force: true })
    mkdirSync(outDir, { recursive: true })
    for (const [file, bytes] of files) writeFileSync(join(outDir, file), bytes)
  }
} finally {
  rmSync(temporary, { recursive: true, force: true })
}
