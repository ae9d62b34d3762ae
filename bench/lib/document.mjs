// The parts of RESULTS.md that are written by the program, each between two markers; what stands around them is by hand.
import { readFile, writeFile } from "node:fs/promises";

const DOCUMENT = new URL("../RESULTS.md", import.meta.url);

/** `text` with `content` between the markers of a section. */
export function replaceSection(text, section, content) {
  const begin = `<!-- ${section}: written by npm run bench -->`;
  const end = `<!-- end of ${section} -->`;
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`bench/RESULTS.md has lost its markers "${begin}" and "${end}"`);
  return `${text.slice(0, from + begin.length)}\n\n${content}\n\n${text.slice(to)}`;
}

/** Writes sections, by name, into RESULTS.md. */
export async function writeSections(sections) {
  let text = await readFile(DOCUMENT, "utf8");
  for (const [section, content] of Object.entries(sections)) text = replaceSection(text, section, content);
  await writeFile(DOCUMENT, text);
}
