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

/** `Math.max` and its like stand some four hundred times in the sources: in the bundle each has one short name. */
const often = ["abs", "ceil", "floor", "max", "min", "round"];
const short = {
  inject: [here("src/maths.ts")],
  define: Object.fromEntries(often.map((name) => [`Math.${name}`, `math_${name}`])),
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
    ["src/index.ts", "bundle.js", short],
    ["src/stub.ts", "stub.js", {}],
    ["src/host/index.ts", "host.js", {}],
  ].map(([entry, out, own]) =>
    build({ ...common, ...own, entryPoints: [here(entry)], outfile: here(`../interpwidgets/widgets/static/${out}`) }),
  ),
);
