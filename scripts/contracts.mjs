#!/usr/bin/env node
// Writes the contract artifacts under entrypoint/artifacts from pinned npm packages and from contracts/*.sol, and those
// of the test contracts in contracts/rules/*.sol under validation/testdata/rules.
//
//   node scripts/contracts.mjs           write the artifacts
//   node scripts/contracts.mjs --check   write nothing; exit 1 if a committed artifact differs
//
// Needs node 20 or later and npm, nothing else. Every package is fetched with `npm pack` and used only if its sha512 is
// the one written here, so the result depends on this file and on contracts/ alone. To raise a version, change the
// version and the integrity together and say in the commit what moved.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const outDir = join(root, 'entrypoint', 'artifacts')
const solDir = join(root, 'contracts')
const rulesDir = join(root, 'validation', 'testdata', 'rules')

const packages = {
  aa06: {
    name: '@account-abstraction/contracts',
    version: '0.6.0',
    integrity: 'sha512-8ooRJuR7XzohMDM4MV34I12Ci2bmxfE9+cixakRL7lA4BAwJKQ3ahvd8FbJa9kiwkUPCUNtj+/zxDQWYYalLMQ==',
    licence: 'MIT (package); Solidity sources GPL-3.0',
  },
  aa07: {
    name: '@account-abstraction/contracts',
    version: '0.7.0',
    integrity: 'sha512-Bt/66ilu3u8I9+vFZ9fTd+cWs55fdb9J5YKfrhsrFafH1drkzwuCSL/xEot1GGyXXNJLQuXbMRztQPyelNbY1A==',
    licence: 'MIT (package); Solidity sources GPL-3.0',
  },
  aa08: {
    name: '@account-abstraction/contracts',
    version: '0.8.0',
    integrity: 'sha512-8krPx/gpnoT+5xAroagVCbeA7FbUigMZWXFKKPm+oghyr29Dksssdx5sI7xGv9212i4JPaDDUGFk58dpuwVgHA==',
    licence: 'MIT (package); Solidity sources MIT and GPL-3.0',
  },
  aa09rc: {
    name: '@account-abstraction/contracts',
    version: '0.9.0-rc.1',
    integrity: 'sha512-NEii5cuCEJaQ0ZUPAh6JtP/yuozLX4k9BJVu7ytX0QAjc4cT038H0fN0lAO129ou/Uwabj5xY9X+z06ChM3p7A==',
    licence: 'MIT (package); Solidity sources MIT and GPL-3.0',
  },
  predeploy: {
    name: 'hardhat-predeploy',
    version: '0.4.1',
    integrity: 'sha512-53Eoj5YECKNTkEezGByjKP5rVbYU0s1is8CtEbm0DPbqMgstNrPMQ0dfcDxA5Fu+hlZhc5w0T+RmJ/d/GAbB6g==',
    licence: 'MIT (package); EntryPoint v0.9 Solidity sources MIT and GPL-3.0',
  },
  viem: {
    name: 'viem',
    version: '2.57.20',
    integrity: 'sha512-LSvREzKT7xFXpmxW2YFJ/OtcZRkSGLp5zywSgadBf0qQCeqh2+FxHHWyrS2zEG7ZfBWQQvk8HI1i4HPzSMD14g==',
    licence: 'MIT',
  },
  opstack: {
    name: '@eth-optimism/contracts-bedrock',
    version: '0.17.3',
    integrity: 'sha512-cHPO7ntWeOBDLO7ZFFSZGI1D7CDqf4loRbRVJrFIsqLEz+hysWIqA0e3dv2GnrjVeuYePBfI2NTBEG4uwz9bQQ==',
    licence: 'MIT',
  },
  scroll: {
    name: '@scroll-tech/contracts',
    version: '4.0.0',
    integrity: 'sha512-YTSQoe1Do9p6mD2zIr6bJQdGoUyApCBm7MO9t/v39zHwI6BQgUhgI01gCNYv8KluwImT7jUwGYOUucmiuQT7FA==',
    licence: 'MIT',
  },
  solc0824: {
    name: 'solc',
    version: '0.8.24',
    integrity: 'sha512-G5yUqjTUPc8Np74sCFwfsevhBPlUifUOfhYrgyu6CmYlC6feSw0YS6eZW47XDT23k3JYdKx5nJ+Q7whCEmNcoA==',
    licence: 'MIT (wrapper), GPL-3.0 (compiler; only its output is kept)',
  },
  solc: {
    name: 'solc',
    version: '0.8.30',
    integrity: 'sha512-9Srk/gndtBmoUbg4CE6ypAzPQlElv8ntbnl6SigUBAzgXKn35v87sj04uZeoZWjtDkdzT0qKFcIo/wl63UMxdw==',
    licence: 'MIT (wrapper), GPL-3.0 (compiler; only its output is kept)',
  },
}

/** Taken from an @account-abstraction/contracts package: artifacts/<contract>.json. */
const hardhat = (pkg, contract) => ({ pkg, contract, read: (dir) => JSON.parse(readFileSync(join(dir, 'artifacts', `${contract}.json`))) })

/** Taken from hardhat-predeploy: bin/<address>.abi and .bytecode (the runtime code; there is no creation code). */
const predeploy = (contract, address) => ({
  pkg: 'predeploy',
  contract,
  read: (dir) => ({
    abi: JSON.parse(readFileSync(join(dir, 'bin', `${address}.abi`), 'utf8')),
    bytecode: '0x',
    deployedBytecode: '0x' + readFileSync(join(dir, 'bin', `${address}.bytecode`)).toString('hex'),
  }),
})

/** Taken from @eth-optimism/contracts-bedrock: forge-artifacts/<contract>.sol/<contract>.json. */
const forge = (contract) => ({
  pkg: 'opstack',
  contract,
  read: (dir) => {
    const { abi, bytecode, deployedBytecode } = JSON.parse(readFileSync(join(dir, 'forge-artifacts', `${contract}.sol`, `${contract}.json`)))
    return { abi, bytecode: bytecode.object, deployedBytecode: deployedBytecode.object }
  },
})

/** Compiled here from a source of @scroll-tech/contracts, which names the compiler's version, with those that it imports. */
const scroll = (contract, folder) => ({
  pkg: 'scroll',
  contract,
  read: (dir, dirs) => {
    const sources = {}
    const take = (file) => {
      if (sources[file]) return
      sources[file] = { content: readFileSync(join(dir, file), 'utf8') }
      for (const [, path] of sources[file].content.matchAll(/^import .*from "(.+)";$/gm)) take(join(dirname(file), path))
    }
    take(`${folder}/${contract}.sol`)
    return solidity(dirs.solc0824, sources)[contract]
  },
})

const bytes = 'bytes', address = 'address', bool = 'bool', uint256 = 'uint256'
const results = { name: 'returnData', type: 'tuple[]', internalType: 'struct Multicall3.Result[]', components: [{ name: 'success', type: bool, internalType: bool }, { name: 'returnData', type: bytes, internalType: bytes }] }
const param = (name, type) => ({ name, type, internalType: type })
const call = (fn, struct, components) => ({
  type: 'function', name: fn, stateMutability: 'payable',
  inputs: [{ name: 'calls', type: 'tuple[]', internalType: `struct Multicall3.${struct}[]`, components }],
  outputs: [results],
})

/** viem carries Multicall3's creation code but only a part of its ABI: the functions used here are written out. */
const multicall3 = {
  pkg: 'viem',
  contract: 'Multicall3',
  read: (dir) => {
    const text = readFileSync(join(dir, '_cjs', 'constants', 'contracts.js'), 'utf8')
    const found = /^exports\.multicall3Bytecode = '(0x[0-9a-f]+)';$/m.exec(text)
    if (!found) throw new Error('viem: multicall3Bytecode not found in _cjs/constants/contracts.js')
    return {
      abi: [
        call('aggregate3', 'Call3', [param('target', address), param('allowFailure', bool), param('callData', bytes)]),
        call('aggregate3Value', 'Call3Value', [param('target', address), param('allowFailure', bool), param('value', uint256), param('callData', bytes)]),
        { type: 'function', name: 'getEthBalance', stateMutability: 'view', inputs: [param('addr', address)], outputs: [param('balance', uint256)] },
      ],
      bytecode: found[1],
    }
  },
}

/** Compiled here from contracts/<file>.sol, <contract>.sol unless another file is named. */
const own = (contract, file = contract) => ({ pkg: 'solc', contract, source: `contracts/${file}.sol`, read: (dir) => compile(dir)[contract] })

/** Every committed artifact, by its file under entrypoint/artifacts. */
const artifacts = {
  'v0.6/EntryPoint.json': hardhat('aa06', 'EntryPoint'),
  'v0.6/SenderCreator.json': hardhat('aa06', 'SenderCreator'),
  'v0.6/SimpleAccount.json': hardhat('aa06', 'SimpleAccount'),
  'v0.6/SimpleAccountFactory.json': hardhat('aa06', 'SimpleAccountFactory'),
  'v0.6/VerifyingPaymaster.json': hardhat('aa06', 'VerifyingPaymaster'),

  'v0.7/EntryPoint.json': hardhat('aa07', 'EntryPoint'),
  'v0.7/SenderCreator.json': hardhat('aa07', 'SenderCreator'),
  'v0.7/SimpleAccount.json': hardhat('aa07', 'SimpleAccount'),
  'v0.7/SimpleAccountFactory.json': hardhat('aa07', 'SimpleAccountFactory'),
  'v0.7/VerifyingPaymaster.json': hardhat('aa07', 'VerifyingPaymaster'),
  'v0.7/LegacyTokenPaymaster.json': hardhat('aa07', 'LegacyTokenPaymaster'),

  'v0.8/EntryPoint.json': hardhat('aa08', 'EntryPoint'),
  'v0.8/SenderCreator.json': hardhat('aa08', 'SenderCreator'),
  'v0.8/SimpleAccount.json': hardhat('aa08', 'SimpleAccount'),
  'v0.8/SimpleAccountFactory.json': hardhat('aa08', 'SimpleAccountFactory'),
  'v0.8/Simple7702Account.json': hardhat('aa08', 'Simple7702Account'),

  'v0.9/EntryPoint.json': predeploy('EntryPoint', '0x433709009B8330FDa32311DF1C2AFA402eD8D009'),
  'v0.9/SenderCreator.json': predeploy('SenderCreator', '0x0A630a99Df908A81115A3022927Be82f9299987e'),
  // The release candidate's EntryPoint is other code than the final one; its accounts take any EntryPoint.
  'v0.9/SimpleAccount.json': hardhat('aa09rc', 'SimpleAccount'),
  'v0.9/SimpleAccountFactory.json': hardhat('aa09rc', 'SimpleAccountFactory'),
  'v0.9/Simple7702Account.json': hardhat('aa09rc', 'Simple7702Account'),

  'shared/Multicall3.json': multicall3,
  'shared/VerifyingPaymaster.json': own('VerifyingPaymaster'),
  'shared/Counter.json': own('Counter'),
  'shared/GasPriceOracle.json': forge('GasPriceOracle'),
  'shared/L1Block.json': forge('L1Block'),
  'shared/L1GasPriceOracle.json': scroll('L1GasPriceOracle', 'L2/predeploys'),
  'shared/NodeInterface.json': own('NodeInterface', 'datafee/NodeInterface'),
  'shared/GasPriceOracleIsthmus.json': own('GasPriceOracleIsthmus', 'datafee/OperatorFee'),
  'shared/L1BlockIsthmus.json': own('L1BlockIsthmus', 'datafee/OperatorFee'),
  'shared/BLSAggregator.json': own('BLSAggregator', 'bls/BLS'),
  'shared/BLSAccount.json': own('BLSAccount', 'bls/BLS'),
  'shared/BLSAccountFactory.json': own('BLSAccountFactory', 'bls/BLS'),
  'shared/BLSAggregatorV06.json': own('BLSAggregatorV06', 'bls/BLSV06'),
  'shared/BLSAccountV06.json': own('BLSAccountV06', 'bls/BLSV06'),
  'shared/BLSAccountFactoryV06.json': own('BLSAccountFactoryV06', 'bls/BLSV06'),
}

/** Test contracts for the rules of ERC-7562, by their file under validation/testdata/rules, with their source. */
const ruleArtifacts = {
  'RuleAccount.json': 'RuleEntity.sol',
  'RuleAggregator.json': 'RuleEntity.sol',
  'RuleFactory.json': 'RuleEntity.sol',
  'RulePaymaster.json': 'RuleEntity.sol',
  'RuleTarget.json': 'RuleTarget.sol',
}

/** What compile() made, by contract. */
let compiled

const work = mkdtempSync(join(tmpdir(), 'baler-contracts-'))
try {
  main(process.argv.slice(2))
} finally {
  rmSync(work, { recursive: true, force: true })
}

function main(args) {
  const check = args.includes('--check')
  const unknown = args.filter((a) => a !== '--check')
  if (unknown.length) {
    console.error(`contracts: have ${unknown.join(' ')}, want nothing or --check`)
    process.exitCode = 2
    return
  }
  const dirs = Object.fromEntries(Object.keys(packages).map((key) => [key, fetchPackage(key)]))
  const files = new Map()
  for (const [file, { pkg, contract, source, read }] of Object.entries(artifacts)) {
    files.set(file, render(pkg, contract, read(dirs[pkg], dirs), source))
  }
  files.set('README.md', readme(files))
  const rules = new Map()
  for (const [file, source] of Object.entries(ruleArtifacts)) {
    const contract = file.replace('.json', '')
    rules.set(file, render('solc', contract, compile(dirs.solc)[contract], `contracts/rules/${source}`))
  }
  const differing = check
    ? [...compare(files, outDir), ...compare(rules, rulesDir)]
    : [...write(files, outDir), ...write(rules, rulesDir)]
  if (check && differing.length) {
    console.error(`contracts: differ from the pinned sources: ${differing.join(', ')} (run: node scripts/contracts.mjs)`)
    process.exitCode = 1
    return
  }
  const where = `${relative(root, outDir)} and ${relative(root, rulesDir)}`
  console.log(`contracts: ${files.size + rules.size} files ${check ? 'are as pinned' : 'written'} in ${where}`)
}

/** Downloads and unpacks one pinned package; throws if its bytes are not the pinned ones. */
function fetchPackage(key) {
  const { name, version, integrity } = packages[key]
  const dir = join(work, key)
  mkdirSync(dir)
  const packed = execFileSync('npm', ['pack', '--silent', `${name}@${version}`], { cwd: dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  const tarball = join(dir, packed.trim().split('\n').at(-1))
  const have = 'sha512-' + createHash('sha512').update(readFileSync(tarball)).digest('base64')
  if (have !== integrity) throw new Error(`${name}@${version}: have integrity ${have}, want ${integrity}`)
  execFileSync('tar', ['-xzf', tarball, '-C', dir])
  return join(dir, 'package')
}

/** Compiles the contracts folder once, without metadata so that the code depends on nothing but source and compiler. */
function compile(dir) {
  if (compiled) return compiled
  const names = readdirSync(solDir, { recursive: true }).filter((f) => f.endsWith('.sol')).sort()
  compiled = solidity(dir, Object.fromEntries(names.map((f) => [f, { content: readFileSync(join(solDir, f), 'utf8') }])))
  return compiled
}

/** Compiles sources with the compiler of a package. */
function solidity(dir, sources) {
  const soljson = createRequire(import.meta.url)(join(dir, 'soljson.js'))
  const input = {
    language: 'Solidity',
    sources,
    settings: {
      evmVersion: 'cancun',
      optimizer: { enabled: true, runs: 200 },
      metadata: { bytecodeHash: 'none', appendCBOR: false },
      outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
    },
  }
  const out = JSON.parse(soljson.cwrap('solidity_compile', 'string', ['string', 'number', 'number'])(JSON.stringify(input), 0, 0))
  // 2394 warns of transient storage, which the rules are about.
  const bad = (out.errors ?? []).filter((e) => e.errorCode !== '2394').map((e) => e.formattedMessage)
  if (bad.length) throw new Error(`solc:\n${bad.join('\n')}`)
  const made = {}
  for (const byName of Object.values(out.contracts)) {
    for (const [name, { abi, evm }] of Object.entries(byName)) {
      made[name] = { abi, bytecode: '0x' + evm.bytecode.object, deployedBytecode: '0x' + evm.deployedBytecode.object }
    }
  }
  return made
}

function render(pkg, contract, { abi, bytecode, deployedBytecode, linkReferences }, file = `contracts/${contract}.sol`) {
  if (linkReferences && Object.keys(linkReferences).length) throw new Error(`${contract}: needs a linker`)
  const source = pkg === 'solc' ? file : `${packages[pkg].name}@${packages[pkg].version}`
  const head = { contractName: contract, source, bytecode: bytecode ?? '0x', deployedBytecode: deployedBytecode ?? '0x' }
  const lines = abi.map((entry) => '    ' + JSON.stringify(sorted(entry)))
  return JSON.stringify(head, null, 2).replace(/\n}$/, `,\n  "abi": [\n${lines.join(',\n')}\n  ]\n}\n`)
}

/** The same value with its keys in a fixed order, so that the text does not depend on the package's formatting. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted)
  if (value === null || typeof value !== 'object') return value
  const order = ['type', 'name', 'inputs', 'outputs', 'stateMutability', 'indexed', 'anonymous', 'internalType', 'components']
  const rank = (k) => (order.indexOf(k) + 100) % 100
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1)).map(([k, v]) => [k, sorted(v)]))
}

function readme(files) {
  const rows = Object.entries(artifacts).map(([file, { pkg }]) => `| \`${file}\` | ${pkg === 'solc' ? '`contracts/` of this repository' : `${packages[pkg].name} ${packages[pkg].version}`} | ${createHash('sha256').update(files.get(file)).digest('hex').slice(0, 16)} |`)
  const sources = Object.values(packages).map(({ name, version, integrity, licence }) => `| ${name} | ${version} | ${licence} | \`${integrity}\` |`)
  return `# Contract artifacts

Written by \`scripts/contracts.mjs\`; do not edit by hand. \`make contracts\` writes them again, \`node scripts/contracts.mjs --check\`
compares them with their sources. Each file holds the ABI, the creation code (\`bytecode\`) and the runtime code
(\`deployedBytecode\`); a side that the source does not carry is \`0x\`.

## Sources

All packages come from npm; each is used only if its sha512 is the one below.

| package | version | licence | integrity |
|---|---|---|---|
${sources.join('\n')}

## Files

| file | from | sha256 (first 8 bytes) |
|---|---|---|
${rows.join('\n')}

## Notes

- The EntryPoints v0.6, v0.7 and v0.8 are creation code: sent through the deterministic deployer
  (0x4e59b44847b379578588920cA78FbF26c0B4956C) with their published salts they land on their canonical addresses.
- The final EntryPoint v0.9 and its SenderCreator exist in npm as runtime code only. They hold the immutables of their
  deployment on mainnet; OpenZeppelin's EIP712 computes the domain again where the chain id is another one.
- \`shared/GasPriceOracle.json\` (1.3.0, the Fjord upgrade's) and \`shared/L1Block.json\` are the OP stack's, for a development
  chain that tells data fees like one. \`shared/L1GasPriceOracle.json\` is Scroll's (up to its Galileo upgrade), for the same, compiled from its package's source
  with the compiler that the source names. \`shared/NodeInterface.json\` stands for Arbitrum's, which is no contract,
  \`shared/GasPriceOracleIsthmus.json\` and \`shared/L1BlockIsthmus.json\` for the OP stack's with operator fees: the package ends before them.
- \`shared/VerifyingPaymaster.json\`, \`shared/Counter.json\`, \`shared/NodeInterface.json\`, \`shared/*Isthmus.json\` and \`shared/BLS*.json\` are compiled from \`contracts/\` with the pinned solc
  (optimizer 200 runs, evmVersion cancun, no metadata). The v0.6 and v0.7 paymasters come with their packages.
- \`shared/Multicall3.json\` is viem's build of Multicall3: the same functions as the contract at
  0xcA11bde05977b3631167028862bE2a173976CA11, compiled with other settings.
`
}

function write(files, dir) {
  for (const [file, text] of files) {
    mkdirSync(dirname(join(dir, file)), { recursive: true })
    writeFileSync(join(dir, file), text)
  }
  return []
}

function compare(files, dir) {
  if (!existsSync(dir)) return [relative(root, dir)]
  const differing = []
  for (const [file, text] of files) {
    const path = join(dir, file)
    if (!existsSync(path) || readFileSync(path, 'utf8') !== text) differing.push(file)
  }
  for (const file of readdirSync(dir, { recursive: true })) {
    if (file.endsWith('.json') && !files.has(file)) differing.push(`${file} (not in the list)`)
  }
  return differing
}
