// Builds what `pip install` ships: the shared bundle, the stub of every widget, the host of exported pages.
import { build, transform } from "esbuild";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Styles travel as text within the bundle, without their spaces. */
const styles = {
  name: "styles",
  setup(plugins) {
    plugins.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, "utf8"), { loader: "css", minify: true, charset: "utf8" });
      return { contents: code.trim(), loader: "text" };
    });
  },
};

const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  charset: "utf8",
  plugins: [styles],
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
