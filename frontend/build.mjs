// Builds what `pip install` ships: the shared bundle, the stub of every widget, the host of exported pages.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  charset: "utf8",
  loader: { ".css": "text" },
  logLevel: "info",
};

await Promise.all(
  [
    ["src/index.ts", "bundle.js"],
    ["src/stub.ts", "stub.js"],
    ["src/host/index.ts", "host.js"],
  ].map(([entry, out]) =>
    build({ ...common, entryPoints: [here(entry)], outfile: here(`../interpwidgets/widgets/static/${out}`) }),
  ),
);
