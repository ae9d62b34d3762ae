// Members of classes that nobody uses: esbuild drops unused functions, but keeps every member of a class that is used.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { build as bundle, transform } from "esbuild";
import ts from "typescript";

/**
 * Finds methods and getters that nothing in a bundle reads by their name, and private members that their class does not. Gives
 * what reads a source file without them, and without what `define` leaves no way to; the entry point's members are the user's.
 *
 * @param {import("esbuild").BuildOptions} options of the bundle
 * @returns {Promise<(path: string) => Promise<string>>}
 */
export async function withoutUnused(options) {
  const { define, target, plugins } = options;
  const entries = Object.values(options.entryPoints).map((path) => resolve(options.absWorkingDir, path));
  const unused = new Set();
  const read = async (path) => {
    const text = await readFile(path, "utf8");
    if (entries.includes(path)) return text;
    const { code } = await transform(text, {
      loader: "ts",
      define,
      target,
      format: "esm",
      minifySyntax: true,
      treeShaking: true,
    });
    return strip(code, unused);
  };
  // What only an unused member names is unused in its turn.
  for (let known = -1; known < unused.size; ) {
    known = unused.size;
    const { outputFiles } = await bundle({
      ...options,
      plugins: [...plugins, { name: "without-unused", setup: (build) => takeSources(build, read) }],
      minify: false,
      minifySyntax: true,
      write: false,
    });
    const text = outputFiles.map((file) => file.text).join("\n");
    const named = namesIn(text);
    for (const { name } of members(text)) if (!named.has(name.text)) unused.add(name.text);
  }
  return read;
}

/** Has esbuild take the text of sources from `read`. */
export function takeSources(build, read) {
  build.onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, async ({ path }) => ({
    contents: await read(path),
    loader: "ts",
  }));
}

/** Names of properties that a text reads or writes. */
function namesIn(text) {
  const names = new Set();
  const visit = (node) => {
    if (ts.isPropertyAccessExpression(node)) names.add(node.name.text);
    else if (ts.isBindingElement(node)) names.add((node.propertyName ?? node.name).text);
    else if (ts.isElementAccessExpression(node)) names.add(node.argumentExpression.text);
    ts.forEachChild(node, visit);
  };
  visit(parse(text));
  return names;
}

/** Methods and getters of all classes of a text, and their private fields. */
function members(text) {
  const found = [];
  const visit = (node) => {
    if (ts.isClassLike(node)) found.push(...node.members.filter(isRemovable));
    ts.forEachChild(node, visit);
  };
  visit(parse(text));
  return found;
}

function isRemovable(member) {
  const { name } = member;
  if (ts.isPropertyDeclaration(member)) return ts.isPrivateIdentifier(name);
  const called = ts.isMethodDeclaration(member) || ts.isGetAccessor(member);
  return called && (ts.isIdentifier(name) || ts.isPrivateIdentifier(name));
}

function strip(text, unused) {
  const named = namesIn(text);
  let rest = "";
  let end = 0;
  for (const { name, pos, end: after } of members(text)) {
    if (ts.isPrivateIdentifier(name) ? named.has(name.text) : !unused.has(name.text)) continue;
    rest += text.slice(end, pos);
    end = after;
  }
  rest += text.slice(end);
  // A private member may have been named by one that is gone.
  return end > 0 ? strip(rest, unused) : rest;
}

function parse(text) {
  return ts.createSourceFile("source.js", text, ts.ScriptTarget.Latest);
}
