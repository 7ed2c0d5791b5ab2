// Builds the pages: the demo's into ../src/perdure/demo/static, the inspector into ../src/perdure/inspector/static, or
// both below $PERDURE_UI_OUT. The same source gives the same bytes on every machine: exact versions, fixed names,
// nothing of the time or the place of the build.

import { createHash } from "node:crypto";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.env.PERDURE_UI_OUT || join(here, "../src/perdure");

const SITES = [
  {
    out: "demo/static",
    assetsUrl: "/assets",
    entryPoints: { app: "src/main.tsx", tanstack: "src/tanstack/main.tsx" },
    pages: { "index.html": "index.html", "tanstack.html": "tanstack.html" },
  },
  {
    out: "inspector/static",
    assetsUrl: "/ui/assets",
    entryPoints: { inspector: "src/inspector/main.tsx" },
    pages: { "inspector.html": "index.html" },
  },
];

for (const site of SITES) await buildSite(site);

async function buildSite({ out: folder, assetsUrl, entryPoints, pages }) {
  const root = join(out, folder);
  const assets = join(root, "assets");
  const { metafile, outputFiles } = await build({
    absWorkingDir: here,
    entryPoints,
    outdir: assets,
    bundle: true,
    format: "esm",
    splitting: true, // what several pages need is one file
    chunkNames: "shared-[hash]",
    target: ["chrome123", "firefox120", "safari17.5"], // light-dark(),
    minify: true,
    charset: "utf8",
    define: { "process.env.NODE_ENV": '"production"' },
    loader: { ".woff2": "file" },
    assetNames: "[name]",
    publicPath: assetsUrl,
    legalComments: "none", // LICENSES.txt has the whole texts
    metafile: true,
    write: false,
  });
  await rm(root, { recursive: true, force: true });
  await mkdir(assets, { recursive: true });
  await Promise.all(outputFiles.map(({ path, contents }) => writeFile(path, contents)));
  await cp(join(here, "public"), assets, { recursive: true });
  for (const [source, page] of Object.entries(pages)) {
    await writeFile(join(root, page), await pageWithHashes(source, assetsUrl, assets));
  }
  await writeFile(join(root, "LICENSES.txt"), await licences(metafile));
}

/** Each asset is named with a hash of its bytes, so that a new page never meets an old asset in a cache. */
async function pageWithHashes(source, assetsUrl, assets) {
  const page = await readFile(join(here, source), "utf8");
  const names = [...page.matchAll(new RegExp(`"${assetsUrl}/([^"]+)"`, "g"))].map((match) => match[1]);
  const hashes = await Promise.all(names.map(async (name) => [name, await shortHash(join(assets, name))]));
  return hashes.reduce((text, [name, hash]) => text.replace(`/${name}"`, `/${name}?${hash}"`), page);
}

async function shortHash(path) {
  return createHash("sha256").update(await readFile(path)).digest("hex").slice(0, 10);
}

/** The licence of every package of which the bundle holds a byte. */
async function licences(metafile) {
  const folders = new Set();
  for (const { inputs } of Object.values(metafile.outputs)) {
    for (const path of Object.keys(inputs)) {
      const folder = path.match(/^.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0];
      if (folder) folders.add(folder);
    }
  }
  const notices = await Promise.all([...folders].sort().map(notice));
  return `The page in this folder contains the following packages.\n\n${notices.join("\n")}`;
}

async function notice(folder) {
  const { name, version, license } = JSON.parse(await readFile(join(here, folder, "package.json"), "utf8"));
  const files = (await readdir(join(here, folder))).filter((file) => /^(licen[cs]e|notice)/i.test(file)).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(here, folder, file), "utf8")));
  const rule = "-".repeat(100);
  return [rule, `${name} ${version} (${license})`, rule, ...texts.map((text) => text.replace(/\r/g, "").trim()), ""].join("\n");
}
