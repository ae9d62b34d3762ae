// The programs in a page of Markdown.

/** One fenced block. */
export interface Block {
  readonly language: string;
  readonly text: string;
  /** Python modules that it needs, itself or by way of a file that another block writes. */
  readonly needs: readonly string[];
  /** What the program has to have printed when the block is done. */
  readonly prints: readonly RegExp[];
  /** Line of its fence, from 1. */
  readonly line: number;
}

/** Blocks of one language that belong together. */
export interface Program {
  readonly language: string;
  readonly blocks: readonly Block[];
}

/**
 * The fenced blocks of a page. Comments that a reader does not see say more of them:
 * `<!-- needs numpy -->` in front of one, `<!-- prints /pattern/flags -->` behind it.
 */
export function blocksOf(page: string): Block[] {
  const blocks: { -readonly [K in keyof Block]: Block[K] }[] = [];
  let open: { language: string; lines: string[]; line: number } | undefined;
  let needs: string[] = [];
  page.split("\n").forEach((line, i) => {
    const fence = /^```(\S*)$/.exec(line);
    if (open) {
      if (!fence) open.lines.push(line);
      else {
        blocks.push({ ...open, text: `${open.lines.join("\n")}\n`, needs, prints: [] });
        open = undefined;
        needs = [];
      }
      return;
    }
    if (fence) {
      open = { language: fence[1]!, lines: [], line: i + 1 };
      return;
    }
    const comment = /^<!-- (needs|prints) (.*) -->$/.exec(line);
    if (!comment) return;
    if (comment[1] === "needs") needs = comment[2]!.split(" ");
    else {
      const last = blocks[blocks.length - 1];
      const [, source, flags] = /^\/(.*)\/(\w*)$/.exec(comment[2]!) ?? [];
      if (!last || source === undefined) throw new Error(`line ${i + 1}: ${line}`);
      last.prints = [...last.prints, new RegExp(source, flags)];
    }
  });
  if (open) throw new Error(`the block of line ${open.line} does not end`);
  return blocks;
}

/** Blocks that follow each other in one language are one program; `text` is no language, but what something looks like. */
export function programsOf(blocks: readonly Block[]): Program[] {
  const programs: { language: string; blocks: Block[] }[] = [];
  for (const block of blocks) {
    if (block.language === "text") continue;
    const last = programs[programs.length - 1];
    if (last?.language === block.language) last.blocks.push(block);
    else programs.push({ language: block.language, blocks: [block] });
  }
  return programs;
}
